"""An exported file is run only in the task that it was made for, and that task's options survive the trip."""

import dataclasses
import math
from pathlib import Path

import pytest
from exported import make_policy, make_run

from acer_robot.deployment import score
from acer_robot.deployment.export import describe
from acer_robot.deployment.score import evaluate_file
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported, save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.reporting.video import VideoOptions, render_policy
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task


def saved(folder: Path, task: TaskConfig, **changes: object) -> Path:
    """Save a policy for Pendulum-v1 whose metadata has `task` and a spec with `changes`."""
    made = make_task(TaskConfig("gymnasium", "Pendulum-v1"), 1, 0)
    made.close()
    run = make_run(make_policy(3, 1), made.spec.bounds)
    spec = dataclasses.replace(made.spec, **changes)
    run = dataclasses.replace(run, spec=spec, config=dataclasses.replace(run.config, task=task))
    save_exported(ExportedPolicy(run.policy, spec), describe(run), folder / "policy.pt")
    return folder / "policy.pt"


def test_many_episodes_share_environments(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(score, "MAX_ENVIRONMENTS", 2)
    monkeypatch.setattr(score, "make_task", lambda *args: made.append(args[1]) or make_task(*args))
    file = saved(tmp_path, TaskConfig("gymnasium", "Pendulum-v1"))
    returns = evaluate_file(file, 3, 0).returns
    assert made == [2]
    assert len(set(returns)) == 3
    assert returns[:2].tolist() == evaluate_file(file, 2, 0).returns.tolist()


def test_file_of_another_control_rate_is_refused(tmp_path):
    pendulum = TaskConfig("gymnasium", "Pendulum-v1")
    file = saved(tmp_path, pendulum, control_dt=0.5)
    with pytest.raises(InputError, match="differs from the one in the file in its control_dt"):
        evaluate_file(file, 1, 0)
    with pytest.raises(InputError, match="differs from the one in the file in its control_dt"):
        render_policy(file, tmp_path / "video.mp4", VideoOptions(max_seconds=0.1))
    assert not (tmp_path / "video.mp4").exists()
    assert evaluate_file(saved(tmp_path, pendulum), 1, 0).lengths.tolist() == [200]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"healthy_z_range": [0.7, math.inf], "limit": -math.inf},
        {"nested": {"deep": [{"x": math.inf}]}, "word": "inf", "number": 1.5, "nothing": None},
    ],
)
def test_task_options_travel_without_loss(tmp_path, kwargs):
    task = TaskConfig("gymnasium", "Pendulum-v1", kwargs, action_repeat=2, bounds={"action_0": [-1.0, 1.0]})
    assert load_exported(saved(tmp_path, task)).task_config == task
