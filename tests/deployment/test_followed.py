"""How well a robot follows a commanded velocity is measured from its positions."""

import math
from types import SimpleNamespace

import pytest
import torch
from robots import pup_config

from acer_robot.deployment.followed import VelocityMeter, places, velocity_meter
from acer_robot.deployment.score import _scored
from acer_robot.schema import TaskConfig
from acer_robot.spec import fallback_command
from acer_robot.tasks import make_task
from acer_robot.tasks.interface import StepResult
from acer_robot.tasks.robot.rotation import velocity_between


def pose(x=0.0, y=0.0, yaw=0.0):
    return torch.tensor([x, y, 0.2, math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)], dtype=torch.float64)


def test_velocity_is_in_the_frame_of_the_heading():
    """The second robot faces y and moves along y and turns across the half turn."""
    before = torch.stack([pose(), pose(yaw=math.pi / 2), pose(yaw=3.1)])
    after = torch.stack([pose(x=0.02), pose(y=0.02, x=-0.01, yaw=math.pi / 2), pose(yaw=-3.1)])
    seen = velocity_between(before, after, 0.04)
    turn = (2 * math.pi - 6.2) / 0.04
    wanted = [[0.5, 0.0, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, turn]]
    torch.testing.assert_close(seen, torch.tensor(wanted, dtype=torch.float64))


def result(ended):
    zeros, no = torch.zeros(2, 3), torch.zeros(2, dtype=torch.bool)
    return StepResult(zeros, zeros, zeros[:, 0], torch.tensor(ended), no, torch.ones(2))


def test_meter_leaves_out_the_start_and_what_follows_an_episode():
    """Robot 0 walks at 0.5 m/s from 0.5 s on. Robot 1 falls after two seconds and is put back to the start."""
    moved = [
        torch.stack([pose(x=max(0.0, 0.05 * n - 0.25)), pose(x=-0.1 * n if n < 20 else 0.0)])
        for n in range(41)
    ]
    task = SimpleNamespace(num_envs=2, spec=SimpleNamespace(control_dt=0.1))
    meter = VelocityMeter(task, [0, 1, 2])
    command = torch.tensor([[0.4, 0.0, 0.0], [0.4, 0.0, 0.0]])
    for number in range(1, 41):
        task.base_poses = lambda number=number: moved[number]
        meter(command, command, result([False, number == 20]))
    followed = meter.followed()
    assert followed.episodes == 2
    assert followed.achieved == pytest.approx(((0.5 - 1.0) / 2, 0.0, 0.0))
    assert followed.commanded == pytest.approx((0.4, 0.0, 0.0))
    assert followed.error == pytest.approx((0.5 * (0.1 + 1.4), 0.0, 0.0))
    assert followed.line().startswith("velocity: vx -0.250 of 0.400 m/s (error 0.750), vy ")
    assert "no episode lasted" in VelocityMeter(task, [0, 1, 2]).followed().line()


def test_standing_pup_has_no_velocity():
    task = make_task(pup_config(velocity=[0.5, 0.0, 0.0], kwargs={"seconds": 1.6}), 2, 0)
    rest = torch.from_numpy(fallback_command(task.spec.bounds)).repeat(2, 1)
    scored = _scored(lambda _: rest, task, 3, lambda: None)
    task.close()
    assert scored.followed.commanded == pytest.approx((0.5, 0.0, 0.0))
    assert scored.followed.achieved == pytest.approx((0.0, 0.0, 0.0), abs=0.01)
    assert scored.summary()["velocity"]["episodes"] == 2
    assert [task.spec.observation[i].name for i in (0, 3)] == ["angular_velocity:trunk.x", "gravity:trunk.x"]
    assert places(task.spec) == [42, 43, 44]


def test_task_without_a_commanded_velocity_has_no_meter():
    task = make_task(TaskConfig(suite="gymnasium", id="Pendulum-v1"), 1, 0)
    assert velocity_meter(task) is None
    task.close()
