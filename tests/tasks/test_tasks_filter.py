"""What the simulator receives where a task limits how fast commands change."""

import sys

import numpy as np
import pytest
import torch
from scripted_envs import ScriptedEnv  # registers the environments

from acer_robot.commands.compose import compose
from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig, TrainConfig
from acer_robot.tasks import make_task

DT = 1 / 50  # seconds per step of Scripted-v0


def make(num_envs=2, kwargs=None, task_id="Scripted-v0", **options):
    ScriptedEnv.made.clear()
    return make_task(TaskConfig("gymnasium", task_id, kwargs or {}, **options), num_envs, seed=0)


def received(environment=0):
    return np.array(ScriptedEnv.made[environment].received, dtype=np.float64)


def test_slew_rate_starts_anew_with_each_episode():
    # Episodes of 3 and 4 steps; joint 0 may change by 0.2 a step and joint 1 is free.
    task = make(kwargs={"length": 3, "longer_by": 1}, slew_rate={"action_0": 0.2 / DT})
    task.reset()
    for _ in range(6):
        task.step(torch.as_tensor(np.array([[1.0, 3.0], [-1.0, -2.0]])))
    np.testing.assert_allclose(received(0)[:, 0], [0.2, 0.4, 0.6, 0.2, 0.4, 0.6], rtol=1e-6)
    np.testing.assert_allclose(received(1)[:, 0], [-0.2, -0.4, -0.6, -0.8, -0.2, -0.4], rtol=1e-6)
    np.testing.assert_array_equal(received(0)[:, 1], [3.0] * 6)
    task.reset()
    task.step(torch.as_tensor(np.array([[1.0, 3.0], [-1.0, -2.0]])))
    np.testing.assert_allclose(received(1)[-1], [-0.2, -2.0], rtol=1e-6)
    task.close()


def test_a_low_pass_closes_the_same_fraction_at_each_command():
    task = make(1, {"length": 9}, low_pass_hz=2.0, action_repeat=2)
    task.reset()
    for _ in range(3):
        task.step(torch.as_tensor(np.array([[1.0, 1.0]])))
    # Each command is held for two environment steps: the filter advances by the control step, 2 dt.
    closed = 1.0 - np.exp(-2 * np.pi * 2.0 * 2 * DT * np.arange(1, 4))
    np.testing.assert_allclose(received()[::2, 0], closed, rtol=1e-6)
    np.testing.assert_array_equal(received()[::2], received()[1::2])
    task.close()


def test_a_command_out_of_bounds_counts_as_the_bound():
    task = make(1, {"length": 9}, low_pass_hz=2.0)
    task.reset()
    task.step(torch.as_tensor(np.array([[1e9, -np.inf]])))
    np.testing.assert_allclose(received()[0], (1 - np.exp(-2 * np.pi * 2.0 * DT)) * np.array([1.0, -2.0]))
    task.close()


def test_the_last_command_is_observed():
    """The actuators' last command is a state: without it one observation and action had two rewards."""
    # Joint 0 in [-1, 1] may change by 0.2 a step; joint 1 in [-2, 3] is free and rests at 0, canonical -0.2.
    task = make(1, {"length": 3}, slew_rate={"action_0": 0.2 / DT})
    assert (task.spec.observation_size, task.spec.input_size) == (2, 4)
    np.testing.assert_allclose(task.reset(), [[0, 0, 0.0, -0.2]], rtol=1e-6)
    up = torch.tensor([[1.0, 3.0]])
    np.testing.assert_allclose(task.step(up).observations, [[0, 1, 0.2, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(task.step(up).observations, [[0, 2, 0.4, 1.0]], rtol=1e-6)
    last = task.step(up)
    np.testing.assert_allclose(last.next_observations, [[0, 3, 0.6, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(last.observations, [[1, 0, 0.0, -0.2]], rtol=1e-6)
    task.close()


def test_a_constant_joint_is_observed_as_zero():
    task = make(1, {"length": 9}, low_pass_hz=2.0, bounds={"action_1": [0.1, 0.1]})
    np.testing.assert_array_equal(task.reset()[0, 2:], [0.0, 0.0])
    assert task.step(torch.tensor([[1.0, 3.0]])).observations[0, 3] == 0.0
    task.close()


def test_a_task_without_limits_observes_its_own_entries_alone():
    task = make(1)
    assert not task.spec.observes_last_command
    assert task.reset().shape == (1, 2)
    task.close()


@pytest.mark.parametrize("suite", ["gymnasium", "dm_control"])
def test_the_spec_tells_a_policy_about_the_limits(suite):
    task_id = {"gymnasium": "Arm-v0", "dm_control": "reacher-easy"}[suite]
    joint = {"gymnasium": "reach", "dm_control": "wrist"}[suite]
    config = TaskConfig(suite, task_id, slew_rate={joint: 3}, low_pass_hz=5.0)
    task = make_task(config, 1, seed=0)
    assert (task.spec.slew_rate, task.spec.low_pass_hz) == ((None, 3.0), 5.0)
    task.close()
    with pytest.raises(InputError, match="slew_rate names joint 'nose'"):
        make_task(TaskConfig(suite, task_id, slew_rate={"nose": 3}), 1, seed=0)
    with pytest.raises(InputError, match="low_pass_hz=-1"):
        make_task(TaskConfig(suite, task_id, low_pass_hz=-1), 1, seed=0)


def test_the_command_line_takes_slew_rates_by_joint_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["acer-train", "task.slew_rate={bthigh: 10}", "task.low_pass_hz=4"])
    (config,) = compose("train", TrainConfig, body=lambda _: None)
    assert (dict(config.task.slew_rate), config.task.low_pass_hz) == ({"bthigh": 10.0}, 4.0)


def test_the_command_line_takes_one_slew_rate_for_all_joints(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["acer-train", "task.slew_rate=4"])
    (config,) = compose("train", TrainConfig, body=lambda _: None)
    assert config.task.slew_rate == 4
