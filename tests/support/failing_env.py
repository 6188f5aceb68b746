"""Environments that fail in one of many ways from a step on; importing the module registers them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class FailingEnv(gymnasium.Env):
    """Fine until step `at` of its life, in one process at most if `once` names a file that then is created."""

    metadata: ClassVar = {"render_modes": [], "render_fps": 50}
    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, fault="raise", at=60, once=None):
        self.fault, self.at, self.once, self.steps = fault, at, once, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=3), {}

    def step(self, action):
        self.steps += 1
        observation, reward = self.np_random.normal(size=3), float(action[0])
        if self.steps >= self.at and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            observation, reward = self._fail(observation, reward)
        return observation, reward, False, False, {}

    def _fail(self, observation, reward):
        if self.fault == "hang":
            time.sleep(600)
        if self.fault == "die":
            os._exit(3)
        if self.fault == "raise":
            raise RuntimeError("encoder lost")
        wrong = {
            "none": None,
            "wide": np.append(observation, 0.0),
            "nan": observation * np.nan,
            "text": "text",
        }
        return wrong.get(self.fault, observation), {"reward": None, "infinite": np.inf}.get(
            self.fault, reward
        )


gymnasium.register("Failing-v0", entry_point=FailingEnv, max_episode_steps=20)
