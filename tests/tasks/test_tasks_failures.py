"""A step that fails names environment, environment step and seed, and stops at once."""

from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from acer_robot.errors import NonFiniteError, TaskError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task

SEEDS = np.random.SeedSequence(0).generate_state(2).tolist()


class FailingEnv(gymnasium.Env):
    """The third that is made fails at its third step, in the way that is asked for; the first measures the task."""

    metadata: ClassVar = {"render_modes": [], "render_fps": 50}
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)
    made: ClassVar[int] = 0

    def __init__(self, how):
        self.how, self.steps = how, 0
        self.fails = FailingEnv.made == 2
        FailingEnv.made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.how == "raises in reset" and self.fails:
            raise OSError("no such robot")
        return np.zeros(2), {}

    def step(self, action):
        self.steps += 1
        observation, reward, ended = np.zeros(2), 0.0, False
        if self.fails and self.steps == 3:
            if self.how == "raises":
                raise RuntimeError("the cable\nis torn")
            observation = {"nan": np.array([0.0, np.nan]), "wide": np.zeros(3)}.get(self.how, observation)
            reward = {"no reward": None, "huge reward": 1e39}.get(self.how, reward)
            ended = {"a word": "False"}.get(self.how, ended)
        return observation, reward, ended, False, {}


gymnasium.register("FailsAtStep-v0", entry_point=FailingEnv, order_enforce=False, disable_env_checker=True)

WHERE = f"environment 1 of gymnasium/FailsAtStep-v0 (seed {SEEDS[1]}) at environment step "
FAILURES = {
    "raises": (TaskError, "2: RuntimeError: the cable is torn"),
    "wide": (TaskError, "3: ValueError: the observation has shape (3,); its space has shape (2,)"),
    "no reward": (TaskError, "2: TypeError: float() argument must be"),
    "a word": (TaskError, "3: TypeError: 'False' says whether the episode ended; expected True or False"),
    "nan": (NonFiniteError, "3: observation 1 is nan, which is not finite in float32"),
    "huge reward": (NonFiniteError, "3: reward is 1e+39, which is not finite in float32"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failing_step_is_named(how):
    kind, message = FAILURES[how]
    FailingEnv.made = 0
    task = make_task(TaskConfig("gymnasium", "FailsAtStep-v0", {"how": how}), 2, seed=0)
    task.reset()
    command = torch.zeros(2, 1)
    task.step(command)
    task.step(command)
    with pytest.raises(kind) as caught:
        task.step(command)
    assert str(caught.value).startswith(WHERE + message)
    assert "\n" not in str(caught.value)


def test_a_failing_reset_is_named():
    FailingEnv.made = 0
    task = make_task(TaskConfig("gymnasium", "FailsAtStep-v0", {"how": "raises in reset"}), 2, seed=0)
    with pytest.raises(TaskError) as caught:
        task.reset()
    assert str(caught.value) == WHERE + "0: OSError: no such robot"
