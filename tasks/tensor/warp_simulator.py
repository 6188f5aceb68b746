"""Many worlds of one model on a GPU: mujoco_warp steps them in float32, as one recorded CUDA graph."""

from __future__ import annotations

import copy
import functools
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.tasks.model.simulator import load_simulator
from acer_robot.tasks.tensor.batch_simulator import AFTER_CONSTRAINTS

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

LARGEST = 1e10
"""Positions and velocities beyond this, as NaN, mean that a world is unstable: MuJoCo's mjMAXVAL."""
STATE = (
    "time",
    "qpos",
    "qvel",
    "act",
    "history",
    "qacc_warmstart",
    "ctrl",
    "qfrc_applied",
    "xfrc_applied",
    "mocap_pos",
    "mocap_quat",
)
"""Fields of mujoco_warp's Data that later steps depend on."""
NEEDS_CONSTANTS = ("body_", "dof_armature", "qpos0", "tendon_", "eq_data", "geom_size")
"""Beginnings of the names of model fields from which mujoco_warp computes others."""


def check_warp() -> None:
    """Raise InputError unless mujoco_warp is installed."""
    if importlib.util.find_spec("mujoco_warp") is None:
        raise InputError("task.backend=warp needs mujoco_warp: pip install 'acer-robot[warp]'")


@functools.cache
def _say_slow() -> None:
    """Say once that there is no GPU."""
    print(
        "task.backend=warp runs on the CPU here: some 50 ms a physics step even for few worlds, and the first step "
        "compiles for one to three minutes; use device=cuda, or task.backend=batch",
        file=sys.stderr,
        flush=True,
    )


class WarpSimulator:
    """B worlds as float32 tensors on `device`. On a GPU its numbers differ in the last bits from run to run."""

    def __init__(
        self,
        model: MjModel,
        worlds: int,
        device: torch.device,
        fields: Sequence[str],
        start: Mapping[str, Sequence[float]] = MappingProxyType({}),
        contacts: int | None = None,
        constraints: int | None = None,
    ) -> None:
        """Make the worlds in the model's initial state.

        Args:
            model: the model.
            worlds: number of worlds B.
            device: what simulates.
            fields: of MjData, which `self.fields` then has.
            start: fields of the state that an episode starts with, beside qpos and qvel.
            contacts: room for contacts in one world; None: mujoco_warp's estimate.
            constraints: room for constraints in one world; likewise.

        Raises:
            InputError: if the package is missing, or it cannot simulate the model or have a field.
        """
        check_warp()
        load_simulator("mujoco", rendering=False)
        import mujoco
        import mujoco_warp
        import warp

        if device.type == "cpu":
            _say_slow()
        model = _with_known_solver(model)
        warp.config.log_level = warp.LOG_WARNING
        self._warp, self._mjw = warp, mujoco_warp
        self.model, self.device = model, device
        self._where = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
        with warp.ScopedDevice(self._where):
            try:
                self._model = mujoco_warp.put_model(model)
            except NotImplementedError as error:
                raise InputError(
                    f"task.backend=warp cannot simulate this model: {error}; use task.backend=batch"
                ) from error
            self._model.opt.warn_overflow = 0  # we count it
            self._data = mujoco_warp.make_data(model, nworld=worlds, nconmax=contacts, njmax=constraints)
        self.worlds = worlds
        self._template = mujoco.MjData(model)
        self._after = any(name in AFTER_CONSTRAINTS for name in fields)
        self._derived = [name for name in fields if name not in STATE]
        self.fields = {name: self._view(name) for name in fields}
        """Live views [B, ..]: each call overwrites them."""
        named = (name for name in STATE if name != "history" or model.nhistory)
        self._state = {name: self._view(name) for name in named}
        self._start = {name: self._repeated(name, values) for name, values in start.items()}
        self._overflow = warp.to_torch(self._data.overflow)
        self._graphs: dict[int, Any] = {}
        self._expanded: dict[str, Tensor] = {}

    def _repeated(self, name: str, values: Sequence[float]) -> Tensor:
        """Return the same values of a field of the state for each world."""
        return torch.tensor(values).to(self._state[name]).repeat(self.worlds, 1)

    def _view(self, name: str) -> Tensor:
        """Return a field as a tensor of MjData's shape, without a copy."""
        array = getattr(self._data, name, None)
        template = getattr(self._template, name, None)
        if array is None or template is None:
            raise InputError(f"the task reads the field {name!r}, which task.backend=warp does not have")
        tensor: Tensor = self._warp.to_torch(array)
        return tensor.view(self.worlds, *np.shape(template))

    def step(self, written: Mapping[str, Tensor], physics_steps: int) -> None:
        """Write fields of the state [B, ..] and advance all worlds."""
        self.write(written)
        if self.device.type == "cpu":
            self._steps(physics_steps)
            return
        stream = self._warp.stream_from_torch(torch.cuda.current_stream(self.device))
        if physics_steps not in self._graphs:
            with self._warp.ScopedStream(stream):
                self._steps(physics_steps)  # compiles; these steps count
            torch.cuda.synchronize(self.device)
            with self._warp.ScopedCapture(device=self._where) as capture:
                self._steps(physics_steps)
            self._graphs[physics_steps] = capture.graph
        else:
            self._warp.capture_launch(self._graphs[physics_steps], stream=stream)

    def _steps(self, physics_steps: int) -> None:
        with self._warp.ScopedDevice(self._where):
            for _ in range(physics_steps):
                self._mjw.step(self._model, self._data)
            if self._after:
                self._mjw.rne_postconstraint(self._model, self._data)

    def write(self, written: Mapping[str, Tensor]) -> None:
        """Write fields of the state: ctrl, xfrc_applied, qvel, .."""
        for name, values in written.items():
            self._state[name].copy_(values)

    def unstable(self) -> Tensor:
        """Return which worlds have a NaN, or a number beyond MuJoCo's limit, in their state [B]."""
        parts = [self._state[name].abs() <= LARGEST for name in ("qpos", "qvel")]
        return ~torch.cat(parts, dim=1).all(1)

    def overflowed(self) -> Tensor:
        """Return which worlds had no room for a contact or a constraint since they were reset [B]."""
        kinds = self._mjw.OverflowType
        no_room = kinds.NEFC | kinds.NJMAX_NNZ | kinds.BROADPHASE | kinds.NARROWPHASE | kinds.CCD
        found: Tensor = (self._overflow & int(no_room)) != 0
        return found

    def reset(self, worlds: Tensor, qpos: Tensor, qvel: Tensor, model_fields: Mapping[str, Tensor]) -> None:
        """Start the worlds where `worlds` [B] holds anew at their rows of qpos [B, nq] and qvel [B, nv].

        `model_fields` are fields of MjModel [B, ..]; worlds that go on keep theirs.
        """
        stream = None if self.device.type == "cpu" else torch.cuda.current_stream(self.device)
        with self._warp.ScopedStream(None if stream is None else self._warp.stream_from_torch(stream)):
            self._reset(worlds, qpos, qvel, model_fields)

    def _reset(self, worlds: Tensor, qpos: Tensor, qvel: Tensor, model_fields: Mapping[str, Tensor]) -> None:
        # What MuJoCo computed for the worlds that go on describes the worlds before their last physics step: it stays.
        kept = {name: self.fields[name].clone() for name in self._derived}
        for name, values in model_fields.items():
            _put(self._model_field(name), worlds, values)
        with self._warp.ScopedDevice(self._where):
            if any(name.startswith(NEEDS_CONSTANTS) for name in model_fields):
                self._mjw.set_const(self._model, self._data)
            self._mjw.reset_data(self._model, self._data, self._warp.from_torch(worlds))
            _put(self._state["qpos"], worlds, qpos)
            _put(self._state["qvel"], worlds, qvel)
            for name, values in self._start.items():
                _put(self._state[name], worlds, values)
            if not self._derived:
                return
            warm = self._state["qacc_warmstart"].clone()
            self._mjw.forward(self._model, self._data)
        _put(self._state["qacc_warmstart"], ~worlds, warm)
        for name, values in kept.items():
            if name in AFTER_CONSTRAINTS:
                _put(self.fields[name], worlds, torch.zeros_like(values))
            _put(self.fields[name], ~worlds, values)

    def _model_field(self, name: str) -> Tensor:
        """Return a model field [B, ..] with a value for each world.

        Raises:
            InputError: if mujoco_warp has no such field.
        """
        if name in self._expanded:
            return self._expanded[name]
        owner, last = (self._model.opt, name[4:]) if name.startswith("opt.") else (self._model, name)
        one_model = self.model.opt if name.startswith("opt.") else self.model
        array, template = getattr(owner, last, None), getattr(one_model, last, None)
        if array is None or template is None:
            raise InputError(
                f"the task changes the model's field {name!r}, which task.backend=warp does not have"
            )
        one = self._warp.to_torch(array)[:1]
        values = one.repeat(self.worlds, *[1] * (one.dim() - 1)).contiguous()
        setattr(owner, last, self._warp.from_torch(values, dtype=array.dtype))
        self._graphs.clear()  # they read the array before
        self._expanded[name] = values.view(self.worlds, *np.shape(template))
        return self._expanded[name]

    def add_velocity(self, number: int, change: npt.NDArray[np.float64]) -> None:
        """Change the velocities [nv] of one world at once."""
        self._state["qvel"][number] += torch.from_numpy(change).to(self._state["qvel"])

    def world(self, number: int, model: MjModel, data: MjData) -> None:
        """Copy the state of one world into `data`."""
        self._mjw.get_data_into(data, self.model, self._data, world_id=number)

    def state(self) -> dict[str, Any]:
        """Return what later steps depend on: the integration state, and the model's fields that differ by world."""
        worlds = {name: values.cpu().clone() for name, values in self._state.items()}
        return {
            "worlds": worlds,
            "model": {name: values.cpu().clone() for name, values in self._expanded.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was called, with the same model and number of worlds.

        Raises:
            InputError: if the state is that of other worlds.
        """
        if not isinstance(state["worlds"], dict) or len(state["worlds"]["qpos"]) != self.worlds:
            raise InputError(f"the state is not that of {self.worlds} worlds with task.backend=warp")
        for name, values in state["model"].items():
            self._model_field(name).copy_(values)
        if any(name.startswith(NEEDS_CONSTANTS) for name in state["model"]):
            with self._warp.ScopedDevice(self._where):
                self._mjw.set_const(self._model, self._data)
        self.write(state["worlds"])


def _with_known_solver(model: MjModel) -> MjModel:
    """Return the model with a solver that mujoco_warp has, and say so where that is another one."""
    import mujoco

    if model.opt.solver != mujoco.mjtSolver.mjSOL_PGS:
        return model
    print(
        "task.backend=warp trains with the solver Newton, as mujoco_warp has no PGS; the model's own solver scores",
        file=sys.stderr,
        flush=True,
    )
    changed = copy.copy(model)
    changed.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return changed


def _put(field: Tensor, worlds: Tensor, values: Tensor) -> None:
    """Write the rows of `values` where `worlds` [B] holds, without a read from the device."""
    mask = worlds.view(-1, *[1] * (field.dim() - 1))
    torch.where(mask, values.to(field.dtype).view(field.shape), field, out=field)
