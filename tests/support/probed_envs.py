"""Small MuJoCo environments that treat a command in different ways; importing the module registers them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, RescaleAction, TimeLimit

LEG = """
<mujoco>
  <option timestep="{timestep}"/>
  <worldbody><body>
    <joint name="{hip}" axis="0 1 0" damping="0.1"/><geom type="capsule" size="0.03" fromto="0 0 0 0 0 -0.3"/>
    <body pos="0 0 -0.3">
      <joint name="{knee}" axis="0 1 0" damping="0.1"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 -0.3"/>
    </body>
  </body></worldbody>
  <actuator>
    <motor joint="{hip}" ctrllimited="true" ctrlrange="-1 1" gear="{gear}"/>
    <motor joint="{knee}" ctrllimited="true" ctrlrange="-1 1" gear="{gear}"/>
  </actuator>
</mujoco>
"""


class LegEnv(MujocoEnv):
    """Two motors; `habit` says what step() makes of a command."""

    metadata: ClassVar = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}

    def __init__(self, habit="plain", hip="hip", knee="knee", gear=1.0, timestep=0.005, **kwargs):
        model = Path(tempfile.mkdtemp()) / "leg.xml"
        text = LEG.format(hip=hip, knee=knee, gear=gear, timestep=timestep)
        model.write_text(text, encoding="utf-8")
        self.habit = habit
        self.observation_structure = {"qpos": 2, "qvel": 2}
        super().__init__(str(model), 1, Box(-np.inf, np.inf, (4,), np.float64), **kwargs)

    def step(self, action):
        if self.habit == "scaled in place":
            action *= 0.5
        for _ in range(4):
            self._step_mujoco_simulation(self._ctrl(np.asarray(action, np.float64)), 1)
        return self._observation(), float(np.cos(self.data.qpos[0])), False, False, {}

    def _ctrl(self, action):
        return {
            "plain": action,
            "scaled in place": action,
            "position": 20.0 * (0.25 * action - self.data.qpos) - 0.5 * self.data.qvel,
            "swapped": action[::-1],
            "scaled": 0.5 * action,
            "offset": action + 0.1,
        }[self.habit]

    def reset_model(self):
        self.set_state(self.np_random.uniform(-0.1, 0.1, 2), self.init_qvel)
        return self._observation()

    def _observation(self):
        return np.concatenate([self.data.qpos, self.data.qvel])


class Skip(gymnasium.Wrapper):
    """Repeat every command, as many users' wrappers do."""

    def step(self, action):
        for _ in range(3):
            result = self.env.step(action)
            if result[2] or result[3]:
                break
        return result


class OddEnv(gymnasium.Env):
    """No simulation; `returned` overrides single results of step() and reset()."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 25}
    commands: ClassVar[list[np.ndarray]] = []

    def __init__(self, dt=None, fps=25, frame=None, width=2, render_mode=None, **returned):
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps}
        self.render_mode, self.returned, self.frame = render_mode, returned, frame
        if dt is not None:
            self.dt = dt
        self.observation_space = Box(-1.0, 1.0, (width,), np.float32)
        self.action_space = Box(np.array([-1.0, 2.0], np.float32), np.array([1.0, 3.0], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.returned.get("reset", (self._observation(), {}))

    def step(self, action):
        self.commands.append(action)
        if "error" in self.returned:
            raise self.returned["error"]
        values = {"reward": 0.0, "terminated": False, "truncated": False, "info": {}} | self.returned
        return self.returned.get("step", (self._observation(), *list(values.values())[:4]))

    def render(self):
        return self.frame

    def _observation(self):
        return self.returned.get("observation", np.zeros(self.observation_space.shape, np.float32))


gymnasium.register("Leg-v0", entry_point=LegEnv, max_episode_steps=50)
gymnasium.register("SkipLeg-v0", entry_point=lambda **kwargs: TimeLimit(Skip(LegEnv(**kwargs)), 20))
gymnasium.register(
    "RescaledLeg-v0", entry_point=lambda: RescaleAction(LegEnv(), np.float32(-3.0), np.float32(3.0))
)
gymnasium.register(
    "NormalizedLeg-v0", entry_point=lambda: TimeLimit(NormalizeReward(NormalizeObservation(LegEnv())), 20)
)
gymnasium.register("Odd-v0", entry_point=OddEnv, max_episode_steps=20)
gymnasium.register("SkipOdd-v0", entry_point=lambda **kwargs: TimeLimit(Skip(OddEnv(**kwargs)), 20))
