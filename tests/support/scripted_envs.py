"""Environments for the tests of tasks; importing the module registers them, as a user's own module would."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box, Dict, Discrete


class ScriptedEnv(gymnasium.Env):
    """Episodes of a known length whose observation is (episode, step) and whose reward is the step's number.

    It records every action it receives, and returns the *same* array each time, as an environment may.
    """

    metadata: ClassVar = {"render_modes": [], "render_fps": 50}
    made: ClassVar[list[ScriptedEnv]] = []

    def __init__(self, length=3, longer_by=0, terminates=True, low=(-1.0, -2.0), high=(1.0, 3.0)):
        self.length = length + longer_by * len(self.made)
        self.terminates = terminates
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(np.array(low, np.float32), np.array(high, np.float32))
        self.received: list[np.ndarray] = []
        self.observation = np.array([-1.0, 0.0])
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation[:] = self.observation[0] + 1.0, 0.0
        return self.observation, {"ignored": 1.0}

    def step(self, action):
        assert self.action_space.dtype == action.dtype
        self.received.append(np.array(action))
        self.observation[1] += 1.0
        over = self.observation[1] >= self.length
        return (
            self.observation,
            self.observation[1],
            over and self.terminates,
            over and not self.terminates,
            {"x": 1},
        )

    def close(self):
        """Leave `made` after one command at most: the task tried this one before it built those of a test."""
        if len(self.received) <= 1 and self in self.made:
            self.made.remove(self)


class SpacesEnv(ScriptedEnv):
    """A task that only has spaces, good ones or bad ones."""

    def __init__(self, action="box", observation="box", low=(-1.0, -2.0), high=(1.0, 3.0), timed=True):
        super().__init__(low=low, high=high)
        if action == "discrete":
            self.action_space = Discrete(4)
        elif action == "matrix":
            self.action_space = Box(-1.0, 1.0, (2, 2))
        elif action == "nan":
            self.action_space.low[1] = np.nan
        if observation == "dict":
            self.observation_space = Dict({"a": Box(-1.0, 1.0, (2,))})
        elif observation == "picture":
            self.observation_space = Box(0, 255, (8, 8, 3), np.uint8)
        elif observation == "integers":
            self.observation_space = Box(0, 9, (2,), np.int64)
        if not timed:
            self.metadata = {"render_modes": []}


class BrokenEnv(ScriptedEnv):
    """Gymnasium itself refuses its action space."""

    def __init__(self):
        super().__init__(low=(np.nan, 0.0))


ARM = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body>
      <joint name="shoulder" type="hinge" axis="0 1 0"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0.5 0 0"/>
      <body pos="0.5 0 0">
        <joint name="reach" type="slide" axis="1 0 0" range="0 0.3"/>
        <geom type="sphere" size="0.05"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="shoulder" ctrlrange="-1.5 0.25" gear="2"/>
    <motor joint="reach" ctrlrange="-3 3" ctrllimited="{limited}"/>
  </actuator>
</mujoco>
"""


class ArmEnv(MujocoEnv):
    """A user's own robot, written the way Gymnasium's tutorial does; it keeps what the simulator received."""

    metadata: ClassVar = {
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 20,
    }
    made: ClassVar[list[ArmEnv]] = []

    def __init__(self, limited="true", **kwargs):
        model = Path(tempfile.mkdtemp()) / "arm.xml"
        model.write_text(ARM.format(limited=limited))
        self.observation_structure = {"qpos": 2, "qvel": 2}
        super().__init__(str(model), 5, Box(-np.inf, np.inf, (4,), np.float64), **kwargs)
        self.made.append(self)

    def step(self, action):
        self.do_simulation(action, self.frame_skip)
        return self._observation(), -float(self.data.qpos[0] ** 2), False, False, {}

    def reset_model(self):
        self.set_state(self.init_qpos + self.np_random.uniform(-0.1, 0.1, 2), self.init_qvel)
        return self._observation()

    def _observation(self):
        return np.concatenate([self.data.qpos, self.data.qvel])


gymnasium.register("Scripted-v0", entry_point=ScriptedEnv, order_enforce=False)
gymnasium.register("Spaces-v0", entry_point=SpacesEnv)
gymnasium.register("Broken-v0", entry_point=BrokenEnv)
gymnasium.register("Arm-v0", entry_point=ArmEnv, max_episode_steps=40)
