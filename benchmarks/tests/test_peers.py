"""Stable-Baselines3's learners under acer-train's protocol: what they leave, when they stop, what they see."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

import peers
from stable_baselines3.common.vec_env import VecNormalize

from acer_robot.run_folder.tables import CsvTable
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.training.timing import Stopwatch

COLUMNS = ["step", "seconds", "eval/return_mean", "eval/return_std", "eval/return_online", "eval/length_mean"]


def run(monkeypatch, tmp_path, *arguments):
    out = tmp_path / "deep" / "eval.csv"
    command = ["peers.py", *arguments, "--episodes", "2", "--threads", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    peers.main()
    return list(csv.DictReader(out.open()))


@pytest.fixture(autouse=True)
def threads():
    """The script sets torch's threads for its process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("learner", "task"), [("sac", "Pendulum-v1"), ("ppo", "Hopper-v5")])
def test_a_run_ends_at_its_step_and_leaves_acer_trains_columns(monkeypatch, tmp_path, learner, task):
    rows = run(monkeypatch, tmp_path, learner, "--task", task, "--steps", "130", "--eval-every", "50")
    assert [row["step"] for row in rows] == ["50", "100", "130"]
    assert list(rows[0]) == COLUMNS
    assert all(row["eval/return_mean"] == row["eval/return_online"] for row in rows)
    lengths = [float(row["eval/length_mean"]) for row in rows]
    assert lengths == [200.0] * 3 if task == "Pendulum-v1" else all(2 < length < 1000 for length in lengths)
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, learner, "--task", task, "--steps", "130")


def test_unknown_settings_are_refused_before_anything_is_made(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as refused:
        run(monkeypatch, tmp_path, "ppo", "--task", "Pendulum-v1", "--steps", "10")
    assert refused.value.code == 2
    assert "no ppo settings for Pendulum-v1" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


def test_evaluation_only_reads_training_statistics(tmp_path):
    """PPO's policy is trained on normalised observations; without them its actions are others."""
    model = peers.build("ppo", "HalfCheetah-v5", 0)
    statistics = model.get_vec_normalize_env()
    assert isinstance(statistics, VecNormalize)
    assert statistics.gamma == model.gamma == 0.98
    statistics.obs_rms.mean[:], statistics.obs_rms.var[:] = 3.0, 0.25
    task = make_task(TaskConfig(suite="gymnasium", id="HalfCheetah-v5"), 2, 7)
    evaluate = peers.Evaluate(task, CsvTable(tmp_path / "eval.csv"), 10, 10)
    evaluate.init_callback(model)
    observations = task.reset()
    expected, _ = model.predict((observations - 3.0) / 0.5, deterministic=True)
    np.testing.assert_allclose(evaluate._act(observations), expected, atol=1e-5)
    assert not np.allclose(
        evaluate._act(observations), model.predict(observations, deterministic=True)[0], atol=1e-3
    )
    evaluate.num_timesteps = 10
    assert evaluate._on_step() is False
    assert (statistics.obs_rms.mean == 3.0).all()
    task.close()


def test_the_clock_stands_still_during_evaluation(monkeypatch, tmp_path):
    model = peers.build("sac", "Pendulum-v1", 0)
    task = make_task(TaskConfig(suite="gymnasium", id="Pendulum-v1"), 1, 7)
    now = [0.0]
    monkeypatch.setattr(peers, "Stopwatch", lambda: Stopwatch(lambda: now[0]))
    evaluate = peers.Evaluate(task, CsvTable(tmp_path / "eval.csv"), 10, 5)
    evaluate.init_callback(model)
    episodes = peers.run_episodes

    def slow(act, task):
        now[0] += 100.0
        return episodes(act, task)

    monkeypatch.setattr(peers, "run_episodes", slow)
    for step in (5, 10):
        now[0] += 2.0
        evaluate.num_timesteps = step
        evaluate._on_step()
    rows = list(csv.DictReader((tmp_path / "eval.csv").open()))
    assert [float(row["seconds"]) for row in rows] == [2.0, 4.0]
    task.close()
