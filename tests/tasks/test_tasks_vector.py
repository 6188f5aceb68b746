"""What a vector task hands to the simulator, and what it makes of the answers."""

import functools
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import SyncVectorEnv
from scripted_envs import ScriptedEnv

from acer_robot.errors import NonFiniteError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu import vector_task
from acer_robot.tasks.model.simulator import quiet_building


@pytest.fixture
def scripted(request):
    """Make a vector task of ScriptedEnv; the environments are ScriptedEnv.made, in order."""
    tasks = []

    def make(num_envs=2, action_repeat=1, bounds=None, **kwargs):
        ScriptedEnv.made.clear()
        config = TaskConfig("gymnasium", "Scripted-v0", kwargs, action_repeat, bounds or {})
        tasks.append(make_task(config, num_envs, seed=0))
        return tasks[-1]

    yield make
    for task in tasks:
        task.close()


COMMANDS = np.zeros((2, 2))


def test_successor_is_the_episodes_end_not_the_reset(scripted):
    task = scripted(length=2, longer_by=1)
    np.testing.assert_array_equal(task.reset(), [[0, 0], [0, 0]])
    first = task.step(torch.as_tensor(COMMANDS))
    np.testing.assert_array_equal(first.observations, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(first.next_observations, [[0, 1], [0, 1]])
    second = task.step(torch.as_tensor(COMMANDS))
    np.testing.assert_array_equal(second.next_observations, [[0, 2], [0, 2]])
    np.testing.assert_array_equal(second.observations, [[1, 0], [0, 2]])
    np.testing.assert_array_equal(second.terminated, [True, False])
    third = task.step(torch.as_tensor(COMMANDS))
    np.testing.assert_array_equal(third.next_observations, [[1, 1], [0, 3]])
    np.testing.assert_array_equal(third.observations, [[1, 1], [1, 0]])
    np.testing.assert_array_equal(third.terminated, [False, True])
    # No step was spent on a reset.
    assert [len(env.received) for env in ScriptedEnv.made] == [3, 3]


def test_results_have_types_and_are_not_overwritten(scripted):
    task = scripted(length=9)
    start = task.reset()
    result = task.step(torch.as_tensor(COMMANDS))
    assert {start.dtype, result.observations.dtype, result.next_observations.dtype} == {torch.float32}
    assert (result.rewards.dtype, result.env_steps.dtype) == (torch.float64, torch.int64)
    assert (result.terminated.dtype, result.truncated.dtype) == (torch.bool, torch.bool)
    result.observations[:] = 100.0
    np.testing.assert_array_equal(result.next_observations, [[0, 1], [0, 1]])
    task.step(torch.as_tensor(COMMANDS))
    np.testing.assert_array_equal(start, np.zeros((2, 2)))
    np.testing.assert_array_equal(result.next_observations, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(result.rewards, [1, 1])


@pytest.mark.parametrize(
    ("kwargs", "terminated", "truncated"),
    [
        ({"length": 2}, True, False),
        ({"length": 2, "terminates": False}, False, True),
        ({"length": 9, "max_episode_steps": 2}, False, True),
        ({"length": 2, "max_episode_steps": 2}, True, True),
    ],
    ids=["the task ends", "the task cuts off", "a time limit", "an end on the time limit"],
)
def test_gymnasiums_two_kinds_of_end(scripted, kwargs, terminated, truncated):
    task = scripted(**kwargs)
    task.reset()
    before, last = task.step(torch.as_tensor(COMMANDS)), task.step(torch.as_tensor(COMMANDS))
    assert not before.terminated.any()
    assert not before.truncated.any()
    np.testing.assert_array_equal(last.terminated, [terminated] * 2)
    np.testing.assert_array_equal(last.truncated, [truncated] * 2)
    np.testing.assert_array_equal(last.next_observations, [[0, 2], [0, 2]])
    np.testing.assert_array_equal(last.observations, [[1, 0], [1, 0]])


def test_action_repeat_sums_rewards_up_to_the_end(scripted):
    task = scripted(length=5, longer_by=2, action_repeat=4)
    task.reset()
    command = np.array([[0.25, 0.5], [-0.5, 1.0]])
    first, second = task.step(torch.as_tensor(command)), task.step(torch.as_tensor(command))
    np.testing.assert_array_equal(first.rewards, [1 + 2 + 3 + 4] * 2)
    np.testing.assert_array_equal(first.env_steps, [4, 4])
    np.testing.assert_array_equal(second.rewards, [5, 5 + 6 + 7])
    np.testing.assert_array_equal(second.env_steps, [1, 3])
    np.testing.assert_array_equal(second.next_observations, [[0, 5], [0, 7]])
    np.testing.assert_array_equal(second.observations, [[1, 0], [1, 0]])
    np.testing.assert_array_equal(ScriptedEnv.made[0].received, [command[0]] * 5)
    np.testing.assert_array_equal(ScriptedEnv.made[1].received, [command[1]] * 7)
    assert task.spec.control_dt == pytest.approx(4 / 50)
    assert task.spec.action_repeat == 4


BOUNDS = {
    "the model's own": ({}, [-1.0, 1.0], [-2.0, 3.0]),
    "asymmetric": ({"action_0": [-0.3, 0.7], "action_1": [-0.1, 2.9]}, [-0.3, 0.7], [-0.1, 2.9]),
    "one side of zero": ({"action_0": [0.1, 0.3], "action_1": [-1.7, -0.2]}, [0.1, 0.3], [-1.7, -0.2]),
    "one joint": ({"action_1": [-0.6, 0.6]}, [-1.0, 1.0], [-0.6, 0.6]),
    "tiny": (
        {"action_0": [0.1, 0.1 + 1e-7], "action_1": [1.3, 1.3 + 2e-7]},
        [0.1, 0.1 + 1e-7],
        [1.3, 1.3 + 2e-7],
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_simulator_gets_the_whole_range_and_no_more(scripted, name):
    overrides, first, second = BOUNDS[name]
    task = scripted(length=1000, bounds=overrides)
    task.reset()
    rng = np.random.default_rng(0)
    commands = [10.0 ** rng.integers(-8, 9) * rng.standard_normal((2, 2)) for _ in range(200)]
    commands += [task.spec.bounds.to_command(rng.uniform(-1.0, 1.0, (2, 2))) for _ in range(200)]
    extremes = [np.full((2, 2), value) for value in (-np.inf, np.inf, -1e300, 1e300)]
    for command in [*commands, *extremes]:
        task.step(torch.as_tensor(command))
    received = np.concatenate([env.received for env in ScriptedEnv.made]).astype(np.float64)
    low, high = np.array([first[0], second[0]]), np.array([first[1], second[1]])
    assert np.all(low <= received), (received.min(0), low)
    assert np.all(received <= high), (received.max(0), high)
    np.testing.assert_allclose(received.min(0), low, rtol=2e-7)
    np.testing.assert_allclose(received.max(0), high, rtol=2e-7)


def test_commands_inside_the_bounds_arrive_as_they_are(scripted):
    task = scripted(length=1000, bounds={"action_0": [-0.5, 0.5]})
    task.reset()
    commands = np.random.default_rng(1).uniform([-0.5, -2.0], [0.5, 3.0], (50, 2, 2))
    for command in commands:
        task.step(torch.as_tensor(command))
    for i, env in enumerate(ScriptedEnv.made):
        np.testing.assert_array_equal(env.received, commands[:, i].astype(np.float32))


@pytest.mark.parametrize("value", [0.1, -0.7, 0.0])
def test_a_joint_with_equal_bounds_gets_that_constant(scripted, value):
    task = scripted(length=1000, bounds={"action_0": [value, value]})
    task.reset()
    for canonical in (-1.0, 0.3, 1.0):
        task.step(torch.as_tensor(task.spec.bounds.to_command(np.full((2, 2), canonical))))
    task.step(torch.as_tensor(np.full((2, 2), -np.inf)))
    received = np.array(ScriptedEnv.made[1].received)
    np.testing.assert_array_equal(received[:, 0], np.full(4, value, np.float32))


class CarelessEnv(gymnasium.Env):
    """Writes to its action, and says with numbers whether the episode ended."""

    metadata: ClassVar = {"render_modes": [], "render_fps": 50}
    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Box(-8.0, 8.0, (1,), np.float32)

    def __init__(self):
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1), {}

    def step(self, action):
        self.steps += 1
        seen = np.array(action)
        action *= 0.5
        return seen, float(seen[0]), 0, np.array([int(self.steps == 3)]), {}


gymnasium.register("Careless-v0", entry_point=CarelessEnv, order_enforce=False, disable_env_checker=True)


def test_environment_may_write_to_its_action():
    task = make_task(TaskConfig("gymnasium", "Careless-v0", action_repeat=2), 1, seed=0)
    task.reset()
    result = task.step(torch.tensor([[8.0]]))
    assert (result.observations.item(), result.rewards.item()) == (8.0, 16.0)
    task.close()


def test_flags_may_be_numbers():
    task = make_task(TaskConfig("gymnasium", "Careless-v0"), 1, seed=0)
    task.reset()
    flags = [
        (r.terminated.item(), r.truncated.item()) for r in (task.step(torch.zeros(1, 1)) for _ in range(3))
    ]
    assert flags == [(False, False), (False, False), (False, True)]
    task.close()


def test_a_nan_command_is_refused_before_the_simulator_sees_it(scripted):
    task = scripted(length=1000)
    task.reset()
    with pytest.raises(NonFiniteError, match=r"environment 0 of .* joint 'action_1' is NaN"):
        task.step(torch.as_tensor(np.array([[0.0, np.nan], [0.0, 0.0]])))
    assert all(not env.received for env in ScriptedEnv.made)


def test_commands_of_another_shape_are_refused(scripted):
    task = scripted()
    task.reset()
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \(2, 2\)"):
        task.step(torch.as_tensor(np.zeros(2)))


def test_another_autoreset_mode_is_refused_at_construction(monkeypatch, scripted):
    def forgetful(makers, copy, autoreset_mode):
        return SyncVectorEnv(makers, copy=copy)

    monkeypatch.setattr(vector_task, "SyncVectorEnv", functools.partial(forgetful))
    with pytest.raises(RuntimeError, match="reset in the same step"):
        scripted()


@pytest.mark.parametrize("task_id", ["InvertedPendulum-v5", "HalfCheetah-v5"])
def test_the_numbers_are_those_of_the_bare_environments(task_id):
    task = make_task(TaskConfig("gymnasium", task_id), num_envs=2, seed=3)
    with quiet_building():
        bare = [gymnasium.make(task_id) for _ in range(2)]
    seeds = np.random.SeedSequence(3).generate_state(2).tolist()
    expected = [env.reset(seed=seed)[0] for env, seed in zip(bare, seeds, strict=True)]
    np.testing.assert_array_equal(task.reset(), np.array(expected, np.float32))
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        commands = task.spec.bounds.to_command(rng.uniform(-1, 1, (2, task.spec.action_size)))
        result = task.step(torch.as_tensor(commands))
        for i, env in enumerate(bare):
            successor, reward, terminated, truncated, _ = env.step(commands[i].astype(np.float32))
            np.testing.assert_array_equal(result.next_observations[i], successor.astype(np.float32))
            assert result.rewards[i] == reward
            assert (result.terminated[i], result.truncated[i]) == (terminated, truncated)
            if terminated:
                ends += 1
                np.testing.assert_array_equal(result.observations[i], env.reset()[0].astype(np.float32))
    assert (ends > 0) == (task_id == "InvertedPendulum-v5")
    task.close()
    for env in bare:
        env.close()
