"""The state of a task goes through a file and gives the same numbers from there on, bit for bit."""

import io
import random

import gymnasium
import numpy as np
import pytest
import torch

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task

TASKS = {
    "ends in each episode": TaskConfig("gymnasium", "InvertedPendulum-v5"),
    "reads the state before the last substep": TaskConfig("gymnasium", "Ant-v5", {"max_episode_steps": 15}),
    "slew rate and action repeat": TaskConfig("gymnasium", "Hopper-v5", action_repeat=2, slew_rate=4.0),
    "no MuJoCo": TaskConfig("gymnasium", "Pendulum-v1", {"max_episode_steps": 15}),
    "steps that mj_step2 finishes": TaskConfig("dm_control", "finger-spin", {"time_limit": 0.4}),
    "changes its model": TaskConfig("dm_control", "reacher-hard", {"time_limit": 0.4}),
}


class OddEnv(gymnasium.Env):
    """Keeps its state in every kind of thing: lists, arrays that are shared, generators, objects, its own class."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    dt = 0.1

    def __init__(self, broken=False):
        self.pair = self.twin = np.zeros(2)
        self.history, self.counts = [], {"steps": 0, 3: [1, 2]}
        self.python_random = random.Random(0)
        self.helper = type("Helper", (), {})()
        self.helper.owner, self.helper.sum = self, np.float32(0.0)
        self.open = (i for i in range(3)) if broken else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.history = [float(self.np_random.normal())]
        return self._observation(), {}

    def step(self, action):
        self.pair += self.np_random.normal(size=2) + action
        self.helper.sum += np.float32(self.python_random.random())
        self.history.append(float(self.twin[0]))
        self.counts["steps"] += 1
        return self._observation(), float(self.helper.sum), len(self.history) > 13, False, {}

    def _observation(self):
        return np.array([*self.twin, sum(self.history), self.counts["steps"]])


class OwnStateEnv(OddEnv):
    """Has an attribute that no file can hold, and gives its state itself."""

    def __init__(self):
        super().__init__(broken=True)

    def state(self):
        return {"pair": self.pair, "history": self.history, "random": self.np_random.bit_generator.state}

    def restore(self, state):
        self.pair[:] = state["pair"]
        self.history = state["history"]
        self.np_random.bit_generator.state = state["random"]

    def _observation(self):
        return np.array([*self.twin, sum(self.history), 0.0])

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, 1.0, *rest


gymnasium.register("Attributes-v0", entry_point=OddEnv)
gymnasium.register("OwnState-v0", entry_point=OwnStateEnv)
TASKS["attributes of every kind"] = TaskConfig("gymnasium", "Attributes-v0")
TASKS["a state of its own"] = TaskConfig("gymnasium", "OwnState-v0")


def through_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def results(task, commands):
    steps = [vars(task.step(command)) for command in commands]
    return [{name: value for name, value in step.items() if value is not None} for step in steps]


def commands_of(task, steps):
    rng = np.random.default_rng(0)
    canonical = rng.uniform(-1.0, 1.0, (steps, task.num_envs, task.spec.action_size))
    return [torch.as_tensor(task.spec.bounds.to_command(each)) for each in canonical]


@pytest.mark.parametrize("name", TASKS)
def test_restored_task_goes_on_with_the_same_numbers(name):
    tasks = [make_task(TASKS[name], 2, seed=7) for _ in range(2)]
    commands = commands_of(tasks[0], 30)
    for task in tasks:
        task.reset()
    results(tasks[0], commands[:8])  # in the middle of an episode
    state = through_file(tasks[0].state())
    undisturbed, restored = results(tasks[0], commands[8:]), None
    tasks[1].restore(state)
    restored = results(tasks[1], commands[8:])
    assert any((row["terminated"] | row["truncated"]).any() for row in undisturbed)
    for a, b in zip(undisturbed, restored, strict=True):
        for field, values in a.items():
            assert torch.equal(values, b[field]), field
    for task in tasks:
        task.close()


def test_attribute_that_no_file_can_hold_is_named():
    task = make_task(TaskConfig("gymnasium", "Attributes-v0", {"broken": True}), 1, seed=0)
    task.reset()
    with pytest.raises(InputError, match=r"environment 0 of .*: env.env.open is a builtins.generator"):
        task.state()


def test_state_of_another_task_is_refused():
    one, other = (make_task(TASKS[name], 2, 0) for name in ("no MuJoCo", "ends in each episode"))
    with pytest.raises(InputError, match="environment 0 of gymnasium/InvertedPendulum-v5"):
        other.restore(one.state())
    with pytest.raises(InputError, match="another task than 3"):
        make_task(TASKS["no MuJoCo"], 3, 0).restore(one.state())


def test_reseeded_task_starts_as_a_new_one():
    config = TASKS["steps that mj_step2 finishes"]
    old, new = make_task(config, 2, seed=7), make_task(config, 2, seed=8)
    old.reset()
    results(old, commands_of(old, 3))
    old.reseed(8)
    assert torch.equal(old.reset(), new.reset())
