"""What a tensor task is: a model, and functions of all B worlds at once.

A task is one `TensorTask`. Its functions are pure: they read tensors [B, ..] and return new ones. They must not write
to what they get, and must not read a value back to Python, because on a GPU each such read stops the simulation.

One environment step runs in this order::

    written = task.apply(before, command)              # simulator fields to write; by default {"ctrl": command}
    (frame_skip physics steps)                         # the simulator's fields now are those after the step
    memory = task.remember(after the step with the memory before it, command, generator)
    reward = sum of task.reward(before, command, after).values()      # after: new fields, new memory
    successor, ended = task.observe(after), task.terminated(after)
    (worlds whose episode ended:)  task.randomize, task.reset, task.begin, then task.observe for their first observation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acer_robot.spec import ActionBounds, ObservationField

if TYPE_CHECKING:
    from mujoco import MjModel


@dataclass(frozen=True)
class State:
    """B worlds at one moment. `state.qpos` is the simulator's field, `state.memory["air_time"]` the task's own."""

    fields: Mapping[str, Tensor]
    """Field of MjData -> [B, ..]: those that the task lists. float64 on `batch`, float32 on `warp`.

    As after MuJoCo's own mj_step, what is computed from positions (xpos, sensordata, contact forces, ..) describes
    the worlds before the last physics step; qpos and qvel describe them after it.
    """
    memory: Mapping[str, Tensor]
    """What the task itself remembers of each world, [B, ..]: a velocity to follow, the last command, air time."""

    def __getattr__(self, name: str) -> Tensor:
        """Return a field of the simulator.

        Raises:
            AttributeError: if the task does not list it.
        """
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(
                f"the task does not list the field {name!r}; it lists {', '.join(self.fields)}"
            ) from None


Memory = dict[str, Tensor]


def actuators_alone(before: State, command: Tensor) -> dict[str, Tensor]:
    """Write the command to the actuators, and nothing else."""
    return {"ctrl": command}


def keep(after: State, command: Tensor, generator: torch.Generator) -> Memory:
    """Leave the memory as it is."""
    return dict(after.memory)


def nothing(count: int, generator: torch.Generator) -> Memory:
    """Draw nothing."""
    return {}


@dataclass(frozen=True)
class TensorTask:
    """A task on any simulator. The functions after `terminated` have defaults that fit a task without memory.

    Every draw must come from the given generator, on `generator.device`. A draw is for all B worlds (count = B), and
    is used in those whose episode starts. Tensors may have any floating type: the simulator casts them.
    """

    id: str
    """Name of the task in the exported file, such as "gymnasium/HalfCheetah-v5"."""
    model: MjModel
    """Everything that the simulation needs is in it: a sensor of forces too, where the task reads them."""
    frame_skip: int
    """Physics steps in one environment step."""
    time_limit: int
    """Environment steps after which an episode is cut off; 0: never."""
    bounds: ActionBounds
    """Names and limits of the commands."""
    layout: tuple[ObservationField, ...]
    """What the entries of the observation are."""
    fields: tuple[str, ...]
    """Fields of MjData that the functions read."""
    reset: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
    """(count, generator) -> qpos [count, nq] and qvel [count, nv] at the start of episodes."""
    observe: Callable[[State], Tensor]
    """State -> [B, n]."""
    reward: Callable[[State, Tensor, State], dict[str, Tensor]]
    """(before, command [B, d], after) -> {term: [B]}, weights included: the reward is the sum of the terms."""
    terminated: Callable[[State], Tensor]
    """State -> [B] bool: whether the task ended, so that the successor has no value. Not the time limit."""

    start: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Other fields of MjData at the start of episodes: `act`, where actuators have a state; what is left out is 0."""
    begin: Callable[[int, torch.Generator], Memory] = nothing
    """(count, generator) -> the memory of new episodes, {name: [count, ..]}: always the same names and shapes."""
    remember: Callable[[State, Tensor, torch.Generator], Memory] = keep
    """(fields after the step and memory before it, command, generator) -> the memory after the step, all its names."""
    apply: Callable[[State, Tensor], dict[str, Tensor]] = actuators_alone
    """(before, command [B, d]) -> {field: [B, ..]} that are written before the step: ctrl, xfrc_applied for a push."""
    feet: tuple[str, ...] = ()
    """Geoms that are feet, for the recording of an exported file; (): bodies or geoms that are called so."""
    file: str | None = None
    """The model's own file, whose sha256 the exported policy records; None: it has no single one."""
    max_contacts: int | None = None
    """Room for contacts in one world of `warp`; None: mujoco_warp's estimate. MuJoCo C makes room as it needs it."""
    max_constraints: int | None = None
    """Room for constraints in one world of `warp`; likewise."""

    randomize: Callable[[int, torch.Generator], dict[str, Tensor]] = nothing
    """(count, generator) -> {field of MjModel: [count, ..]} of new episodes: always the same fields. The simulator
    computes what follows from them, as mj_setConst does."""
