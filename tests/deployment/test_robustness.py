"""The robustness table: one change at a time, and the worst is named."""

import json

import numpy as np
import pytest
import torch
from robots import walker_config

from acer_robot.commands import export
from acer_robot.deployment import robustness as rows
from acer_robot.deployment.policy_card import _robustness
from acer_robot.deployment.robustness import check_robustness, robustness, table_rows
from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.spec import fallback_command
from acer_robot.tasks import make_task


class Rest:
    """A policy that always gives the command at rest."""

    def __init__(self, config):
        self.task_config = config
        self.spec = make_task(config, 1, 0).spec
        size = self.spec.observation_size
        self.metadata = {"normalizer": {"enabled": True, "std": [1.0] * size}}
        self.resets = 0

    def reset(self):
        self.resets += 1

    def act(self, observations):
        return torch.from_numpy(fallback_command(self.spec.bounds)).repeat(len(observations), 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A walker that stands; each row has the same starts and the same velocities to follow."""
    folder = tmp_path_factory.mktemp("walker")
    config = walker_config(folder, kwargs={"seconds": 0.4}, randomize={"gravity": [0.5, 2]})
    return robustness(Rest(config), seed=1, episodes=3)


def test_rows(table):
    names = [row["name"] for row in table["rows"]]
    assert names == [
        "nominal",
        "friction -20 %",
        "friction +20 %",
        "mass -20 %",
        "mass +20 %",
        "gains -20 %",
        "gains +20 %",
        "delay of 1 step",
        "delay of 2 steps",
        "noise of 10 %",
        "pushes of up to 0.5 m/s",
    ]
    returns = {row["name"]: row["return_mean"] for row in table["rows"]}
    assert all(np.isfinite(list(returns.values())))
    assert returns["delay of 2 steps"] == returns["nominal"]  # the command never changes
    assert returns["mass +20 %"] != returns["nominal"]
    others = {name: value for name, value in returns.items() if name != "nominal"}
    assert table["worst"] == min(others, key=others.get)


def test_no_row_is_the_worst_if_all_are_better(monkeypatch):
    means = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(rows, "changes", lambda policy: {"nominal": {}, "friction": {}, "mass": {}})
    monkeypatch.setattr(rows, "_row", lambda *_: {"return_mean": next(means), "return_std": 0.0, "falls": 0})
    monkeypatch.setattr(rows, "_neutral", lambda plain, policy: plain)
    monkeypatch.setattr(rows, "tensor_config", lambda config: config)
    table = robustness(Rest(TaskConfig("gymnasium", "HalfCheetah-v5")), seed=0)
    assert table["worst"] is None
    assert [name for name, *_ in table_rows(table)] == ["nominal", "friction", "mass"]


def test_rows_have_the_same_thirty_starts(monkeypatch, tmp_path):
    made, make = [], rows.make_task

    def counted(config, count, seed):
        made.append(count)
        return make(config, count, seed)

    monkeypatch.setattr(rows, "make_task", counted)
    robustness(Rest(walker_config(tmp_path, kwargs={"seconds": 0.04})), seed=1)
    assert made.count(30) == 11  # one round for each row


def test_card_and_report_name_the_worst(table):
    text = _robustness(table)
    assert f"The worst is {table['worst']}." in text
    assert "| nominal |" in text
    assert [row[0] for row in table_rows(table)].count(f"{table['worst']}, the worst") == 1
    assert _robustness(None) == ""


def test_export_prints_nominal_and_worst(table, tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"robustness": table}))
    line = export._robustness(tmp_path / "evaluation.json")
    returns = {row["name"]: row["return_mean"] for row in table["rows"]}
    assert f"nominal: return {returns['nominal']:,.1f}, 0 of 3 episodes fell" in line
    assert f"{table['worst']}, the worst: return {returns[table['worst']]:,.1f}" in line
    assert "\n" not in line


def test_change_that_a_robot_cannot_have_is_left_out():
    policy = Rest(TaskConfig("gymnasium", "HalfCheetah-v5", {"max_episode_steps": 5}))
    rows = {row["name"]: row for row in robustness(policy, 0, 1)["rows"]}
    assert rows["pushes of up to 0.5 m/s"]["return_mean"] is None
    assert "free base" in rows["pushes of up to 0.5 m/s"]["reason"]
    assert rows["gains -20 %"]["return_mean"] is not None


def test_task_without_tensor_functions_is_refused():
    with pytest.raises(InputError, match=r"robustness=true needs a task on mujoco\.batch"):
        check_robustness(TaskConfig("dm_control", "walker-walk"), 1)
    with pytest.raises(InputError, match="needs episodes=1 or more"):
        check_robustness(TaskConfig("gymnasium", "HalfCheetah-v5"), 0)
