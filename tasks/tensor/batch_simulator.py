"""Many worlds of one model in MuJoCo C: mujoco.batch steps them on threads of the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError, TaskError
from acer_robot.tasks.model.simulator import load_simulator

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

AFTER_CONSTRAINTS = ("cacc", "cfrc_int", "cfrc_ext")
"""Fields that mj_step leaves out. Gymnasium calls mj_rnePostConstraint for them after the last physics step, and so do
we. A sensor that needs them would compute them before that step is integrated: with RK4 the forces differ."""


class BatchSimulator:
    """B worlds as tensors on the CPU, float64. The same numbers as mj_step on one world, at any number of threads."""

    device = torch.device("cpu")

    def __init__(
        self,
        model: MjModel,
        worlds: int,
        threads: int,
        fields: Sequence[str],
        start: Mapping[str, Sequence[float]] = MappingProxyType({}),
    ) -> None:
        """Make the worlds in the model's initial state.

        Args:
            model: the model.
            worlds: number of worlds B.
            threads: that step them.
            fields: of MjData, which `self.fields` then has.
            start: fields of the state that an episode starts with, beside qpos and qvel.

        Raises:
            InputError: if a field cannot be had.
        """
        self._mujoco = load_simulator("mujoco", rendering=False)
        import mujoco.batch

        self._batch = mujoco.batch.Batch(model, worlds, threads, persistent=True)
        self.model = model
        self._start = {name: np.asarray(values) for name, values in start.items()}
        self._written: dict[str, Tensor] = {}
        self._computed = [name for name in fields if name in AFTER_CONSTRAINTS]
        self._one = mujoco.MjData(model)
        self.fields = {name: self._field(name) for name in fields}
        """Live views [B, ..]: each call overwrites them."""
        kinds = mujoco.mjtWarning
        self._unstable = [
            int(kind) for kind in (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        ]

    def _field(self, name: str) -> Tensor:
        if name in self._computed:
            return torch.zeros(self._batch.nsim, *getattr(self._one, name).shape, dtype=torch.float64)
        try:
            return torch.from_numpy(_writeable(self._batch.bind(name)))
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"the task reads the field {name!r}, which cannot be had: {error}") from error

    def step(self, written: Mapping[str, Tensor], physics_steps: int) -> None:
        """Write fields of the state [B, ..] and advance all worlds.

        Raises:
            TaskError: if MuJoCo itself fails; the message names the world.
        """
        self.write(written)
        self._call(lambda: self._batch.step(nstep=physics_steps))
        if self._computed:
            for world in range(self._batch.nsim):
                self._batch.get_data(world, self._one)
                self._mujoco.mj_rnePostConstraint(self.model, self._one)
                for name in self._computed:
                    self.fields[name][world] = torch.from_numpy(getattr(self._one, name))

    def write(self, written: Mapping[str, Tensor]) -> None:
        """Write fields of the state: ctrl, xfrc_applied, qvel, .."""
        for name, values in written.items():
            if name not in self._written:
                self._written[name] = torch.from_numpy(self._batch.bind(name))
            self._written[name].copy_(values)

    def unstable(self) -> Tensor:
        """Return which worlds MuJoCo found unstable since they were reset [B]; it has replaced their state already."""
        return torch.from_numpy(self._batch.warning[:, self._unstable, 1].any(axis=1))

    def overflowed(self) -> Tensor:
        """Return which worlds had no room for a contact [B]: MuJoCo C makes room."""
        return torch.zeros(self._batch.nsim, dtype=torch.bool)

    def reset(self, worlds: Tensor, qpos: Tensor, qvel: Tensor, model_fields: Mapping[str, Tensor]) -> None:
        """Start the worlds where `worlds` [B] holds anew at their rows of qpos [B, nq] and qvel [B, nv].

        `model_fields` are fields of MjModel [B, ..]; worlds that go on keep theirs.

        Raises:
            InputError: if a field of the model cannot differ by world.
            TaskError: if MuJoCo itself fails.
        """
        ids = np.flatnonzero(worlds.numpy()).astype(np.int32)
        for name, values in model_fields.items():
            self._model_field(name)[ids] = values.numpy()[ids]
        if model_fields:
            self._call(lambda: self._batch.set_const(ids))
        self._call(lambda: self._batch.reset(ids, stage=int(self._mujoco.mjtStage.mjSTAGE_NONE)))
        self._batch.bind("qpos")[ids] = qpos.numpy()[ids]
        self._batch.bind("qvel")[ids] = qvel.numpy()[ids]
        for name, start in self._start.items():
            self._batch.bind(name)[ids] = start
        self._call(lambda: self._batch.forward(ids))
        for name in self._computed:
            self.fields[name][ids] = 0.0  # as in Gymnasium after mj_resetData

    def _model_field(self, name: str) -> npt.NDArray[Any]:
        try:
            field: npt.NDArray[Any] = self._batch.expand(name)
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(
                f"the task changes the model's field {name!r}, which cannot be had: {error}"
            ) from error
        return field

    def _call(self, call: Any) -> None:  # noqa: ANN401
        import mujoco.batch

        try:
            call()
        except mujoco.batch.SimulationError as error:
            raise TaskError(f"MuJoCo fails: {error}") from error

    def world(self, number: int, model: MjModel, data: MjData) -> None:
        """Copy the state of one world, and the model's fields that differ by world, into `data` and `model`."""
        for name, values in self._batch._expanded.items():
            if not name.startswith("opt."):
                getattr(model, name)[:] = values[number]
        self._batch.get_data(number, data)

    def add_velocity(self, number: int, change: npt.NDArray[np.float64]) -> None:
        """Change the velocities [nv] of one world at once."""
        self._batch.bind("qvel")[number] += change

    def state(self) -> dict[str, Any]:
        """Return what later steps depend on: the integration state, and the model's fields that differ by world."""
        expanded = {name: torch.from_numpy(values.copy()) for name, values in self._batch._expanded.items()}
        return {"worlds": torch.from_numpy(self._batch.state.copy()), "model": expanded}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was called, with the same model and number of worlds.

        Raises:
            InputError: if the state is that of other worlds.
        """
        if tuple(state["worlds"].shape) != self._batch.state.shape:
            raise InputError(
                f"the state has the shape {list(state['worlds'].shape)}, and the worlds here have "
                f"{list(self._batch.state.shape)}"
            )
        for name, values in state["model"].items():
            self._batch.expand(name)[:] = values.numpy()
        if state["model"]:
            self._call(self._batch.set_const)
        self._batch.state[:] = state["worlds"].numpy()


def _writeable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that torch takes without a warning. The batch overwrites a derived field at each call."""
    view = array.view()
    view.flags.writeable = True
    return view
