"""Environments that go wrong after a hundred steps; importing the module registers them."""

from __future__ import annotations

from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class PoisonedEnv(gymnasium.Env):
    """Fine for a hundred steps, then not a number."""

    metadata: ClassVar = {"render_modes": [], "render_fps": 50}
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self):
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=2), {}

    def step(self, action):
        self.steps += 1
        observation = self.np_random.normal(size=2)
        if self.steps > 100:
            observation[1] = np.nan
        return observation, float(action[0]), False, False, {}


class TornEnv(PoisonedEnv):
    """Raises an error in place of its step 101."""

    def step(self, action):
        if self.steps == 100:
            raise RuntimeError("the cable is torn")
        return super().step(action)


gymnasium.register("Torn-v0", entry_point=TornEnv, max_episode_steps=20)
gymnasium.register("Poisoned-v0", entry_point=PoisonedEnv, max_episode_steps=20)
