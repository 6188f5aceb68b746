"""What a simulation tells of a robot beside its observation: joints, feet on the ground, terms of the reward."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acer_robot.tasks.cpu.probe import simulation_of

JOINTS = 64
"""Most joints that are measured."""
FOOT = re.compile(r"foot|feet|toe|ankle|heel", re.IGNORECASE)
"""Names of bodies and geoms that are feet."""
TERM = "reward_"
"""Beginning of the names of a reward's terms in the infos of Gymnasium's environments."""


@dataclass(frozen=True)
class Measured:
    """The robot after one command."""

    positions: npt.NDArray[np.float32]
    """[J] rad, or m for a sliding joint."""
    velocities: npt.NDArray[np.float32]
    """[J] per second."""
    contacts: npt.NDArray[np.bool_]
    """[F] whether each foot touches what does not move."""
    terms: Mapping[str, float]
    """Terms of the reward, summed over the action repeat."""


class Measurements:
    """Measures one environment; without a MuJoCo simulation there are no joints and no feet."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401 (any environment)
        simulation = simulation_of(env)
        self._data: Any = None
        self._addresses: tuple[list[int], list[int]] = ([], [])
        self._feet: list[set[int]] = []
        self._ground: set[int] = set()
        self._terms: dict[str, float] = {}
        self.joint_names: list[str] = []
        self.joint_units: list[str] = []
        self.foot_names: list[str] = []
        if simulation is not None:
            model, self._data = simulation
            self._find_joints(model)
            self._find_feet(model)

    def _find_joints(self, model: Any) -> None:  # noqa: ANN401 (mujoco's type)
        """Find the hinges (type 3) and slides (type 2): the others have several coordinates."""
        for i in [i for i in range(model.njnt) if model.jnt_type[i] in (2, 3)][:JOINTS]:
            self.joint_names.append(model.joint(i).name or f"joint_{i}")
            self.joint_units.append("rad" if model.jnt_type[i] == 3 else "m")
            self._addresses[0].append(int(model.jnt_qposadr[i]))
            self._addresses[1].append(int(model.jnt_dofadr[i]))

    def _find_feet(self, model: Any) -> None:  # noqa: ANN401 (mujoco's type)
        """Find the bodies that are called feet, else the geoms, and the geoms that do not move."""
        fixed = model.body_weldid[model.geom_bodyid] == 0
        self._ground = set(np.flatnonzero(fixed).tolist())
        for i in range(model.nbody):
            geoms = set(np.flatnonzero((model.geom_bodyid == i) & ~fixed).tolist())
            if geoms and FOOT.search(model.body(i).name):
                self.foot_names.append(model.body(i).name)
                self._feet.append(geoms)
        if not self._feet:
            for i in range(model.ngeom):
                if not fixed[i] and FOOT.search(model.geom(i).name):
                    self.foot_names.append(model.geom(i).name)
                    self._feet.append({i})

    def begin(self) -> None:
        """Begin a command."""
        self._terms = {}

    def add(self, info: Mapping[str, Any]) -> None:
        """Take the infos of one environment step of the command."""
        for name, value in info.items():
            if name.startswith(TERM) and isinstance(value, int | float | np.number):
                self._terms[name] = self._terms.get(name, 0.0) + float(value)

    def end(self) -> None:
        """Measure the robot at the end of the command, before the next episode may begin."""
        touching = np.zeros(len(self._feet), np.bool_)
        position, velocity = self._addresses
        if self._data is not None and self._feet:
            for first, second in np.asarray(self._data.contact.geom).reshape(-1, 2).tolist():
                if (first in self._ground) != (second in self._ground):
                    moving = second if first in self._ground else first
                    touching |= [moving in foot for foot in self._feet]
        self.latest = Measured(
            np.array(self._data.qpos[position] if position else [], np.float32),
            np.array(self._data.qvel[velocity] if velocity else [], np.float32),
            touching,
            dict(self._terms),
        )
