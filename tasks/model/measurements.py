"""What a simulation tells of a robot beside its observation: joints, feet on the ground, terms of the reward."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from acer_robot.tasks.interface import Measured

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

JOINTS = 64
"""Most joints that are measured."""
FOOT = re.compile(r"foot|feet|toe|ankle|heel", re.IGNORECASE)
"""Names of bodies and geoms that are feet."""


class Measurements:
    """Measures one environment; without a MuJoCo simulation there are no joints and no feet."""

    def __init__(self, simulation: tuple[MjModel, MjData] | None, feet: Sequence[str] = ()) -> None:
        """Find what is measured.

        Args:
            simulation: model and state, which the simulator renews.
            feet: names of the geoms that are feet; (): bodies or geoms that are called so.
        """
        self._data: Any = None
        self._addresses: tuple[list[int], list[int]] = ([], [])
        self._feet: list[set[int]] = []
        self._ground: set[int] = set()
        self._terms: dict[str, float] = {}
        self._joint_names: tuple[str, ...] = ()
        self._joint_units: tuple[str, ...] = ()
        self._foot_names: tuple[str, ...] = ()
        if simulation is not None:
            model, self._data = simulation
            self._find_joints(model)
            self._find_feet(model, feet)

    def _find_joints(self, model: Any) -> None:  # noqa: ANN401 (mujoco's type)
        """Find the hinges (type 3) and slides (type 2): the others have several coordinates."""
        for i in [i for i in range(model.njnt) if model.jnt_type[i] in (2, 3)][:JOINTS]:
            self._joint_names += (model.joint(i).name or f"joint_{i}",)
            self._joint_units += ("rad" if model.jnt_type[i] == 3 else "m",)
            self._addresses[0].append(int(model.jnt_qposadr[i]))
            self._addresses[1].append(int(model.jnt_dofadr[i]))

    def _find_feet(self, model: Any, named: Sequence[str]) -> None:  # noqa: ANN401 (mujoco's type)
        """Find the feet, and the geoms that do not move."""
        fixed = model.body_weldid[model.geom_bodyid] == 0
        self._ground = set(np.flatnonzero(fixed).tolist())
        if named:
            self._foot_names = tuple(named)
            self._feet = [{int(model.geom(name).id)} for name in named]
            return
        for i in range(model.nbody):
            geoms = set(np.flatnonzero((model.geom_bodyid == i) & ~fixed).tolist())
            if geoms and FOOT.search(model.body(i).name):
                self._foot_names += (model.body(i).name,)
                self._feet.append(geoms)
        if not self._feet:
            for i in range(model.ngeom):
                if not fixed[i] and FOOT.search(model.geom(i).name):
                    self._foot_names += (model.geom(i).name,)
                    self._feet.append({i})

    def begin(self) -> None:
        """Begin a command."""
        self._terms = {}

    def add(self, terms: Mapping[str, float]) -> None:
        """Take the terms of the reward of one environment step of the command."""
        for name, value in terms.items():
            self._terms[name] = self._terms.get(name, 0.0) + value

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
            self._joint_names,
            self._joint_units,
            self._foot_names,
        )
