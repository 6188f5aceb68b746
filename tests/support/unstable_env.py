"""Environments whose numbers go bad: a simulation that explodes, and sensors that spike; importing registers them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from poisoned_env import PoisonedEnv

PENDULUM = """
<mujoco><option timestep="0.01"/><worldbody><body pos="0 0 1"><joint name="a" axis="0 1 0"/>
<geom type="capsule" size="0.02" mass="1e-4" fromto="0 0 0 0 0 -0.3"/></body></worldbody>
<actuator><motor name="a" joint="a" gear="1e-4" ctrllimited="true" ctrlrange="-1 1"/></actuator></mujoco>
"""


class ExplodingEnv(MujocoEnv):
    """A pendulum that is thrown at an absurd speed from its 60th step on, so that MuJoCo resets its state each time."""

    metadata: ClassVar = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}

    def __init__(self, **kwargs):
        model = Path(tempfile.mkdtemp()) / "pendulum.xml"
        model.write_text(PENDULUM)
        self.steps = 0
        super().__init__(str(model), 5, Box(-np.inf, np.inf, (2,), np.float64), **kwargs)

    def step(self, action):
        self.steps += 1
        if self.steps >= 60:
            self.data.qvel[:] = 1e12
        self.do_simulation(action, self.frame_skip)
        return self._observation(), float(np.cos(self.data.qpos[0])), False, False, {}

    def reset_model(self):
        self.set_state(self.np_random.uniform(-0.1, 0.1, 1), self.init_qvel)
        return self._observation()

    def _observation(self):
        return np.concatenate([self.data.qpos, self.data.qvel])


class SpikingEnv(PoisonedEnv):
    """One wild observation or reward at step `at`, and ordinary ones otherwise."""

    def __init__(self, observation=0.0, reward=0.0, at=65):
        super().__init__()
        self.wild, self.at = (observation, reward), at

    def step(self, action):
        self.steps += 1
        observation, reward = self.np_random.normal(size=2), float(action[0])
        if self.steps == self.at:
            observation[1] += self.wild[0]
            reward += self.wild[1]
        return observation, reward, False, False, {}


gymnasium.register("Exploding-v0", entry_point=ExplodingEnv, max_episode_steps=50)
gymnasium.register("Spiking-v0", entry_point=SpikingEnv, max_episode_steps=20)
