"""Randomised models: what differs from episode to episode in the robot and its world, `task.randomize`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.tasks.model.actuators import driven_joint
from acer_robot.tasks.model.moving_body import robot_body
from acer_robot.tasks.model.names import actuator_names
from acer_robot.tasks.model.numbers import matching, pair
from acer_robot.tasks.tensor.task import TensorTask

if TYPE_CHECKING:
    from mujoco import MjModel


@dataclass(frozen=True)
class Kind:
    """What a name in `task.randomize` changes."""

    owner: str
    """What the parts are called that it can be limited to: geom, body, joint, actuator; "" where it has no parts."""
    writes: tuple[tuple[str, int | slice | None], ...]
    """Fields of MjModel, and the columns of each that are written; None: all columns."""
    adds: bool = False
    """Whether the drawn number is added, on each axis; else it is a factor."""


DIVIDED = "body_gravcomp"
"""Field that is divided by the factor: gravity compensation is a share of the body's weight, and stays in newtons."""
KINDS = {
    "geom_friction": Kind("geom", (("geom_friction", 0), ("pair_friction", slice(2)))),
    "body_mass": Kind("body", (("body_mass", None), ("body_inertia", None), (DIVIDED, None))),
    "com": Kind("body", (("body_ipos", None),), adds=True),
    "dof_damping": Kind("joint", (("dof_damping", None),)),
    "dof_armature": Kind("joint", (("dof_armature", None),)),
    "dof_frictionloss": Kind("joint", (("dof_frictionloss", None),)),
    "actuator_kp": Kind("actuator", (("actuator_gainprm", 0), ("actuator_biasprm", 1))),
    "actuator_kd": Kind("actuator", (("actuator_biasprm", 2),)),
    "actuator_strength": Kind("actuator", (("actuator_forcerange", None), ("jnt_actfrcrange", None))),
    "gravity": Kind("", (("opt.gravity", None),)),
}
"""Name in `task.randomize` -> what it writes. docs/sim_to_real.md has this table."""
LARGEST_SHIFT, SMALLEST_FACTOR, LARGEST_FACTOR = 10.0, 0.01, 100.0


@dataclass(frozen=True)
class Change:
    """One number that is drawn for each episode, and where it goes."""

    low: float
    high: float
    adds: bool
    masks: Mapping[str, Tensor]
    """Field of MjModel -> where it is written, bool, of the field's shape."""


def with_randomized_models(task: TensorTask, options: Mapping[str, Any]) -> TensorTask:
    """Return the task with a model that differs by episode as `task.randomize` says.

    Each range is one number for an episode: [0.9, 1.1] of body_mass scales all bodies alike.

    Raises:
        InputError: if a name, a range or a part cannot be used, or a factor would scale nothing but zeros.
    """
    if not options:
        return task
    changes = [change for name, value in options.items() for change in _changes(task.model, name, value)]
    fields = sorted({field for change in changes for field in change.masks})
    bases = {field: _field(task.model, field) for field in fields}

    def randomize(count: int, generator: torch.Generator) -> dict[str, Tensor]:
        values = {
            name: base.to(generator.device).repeat(count, *[1] * base.dim()) for name, base in bases.items()
        }
        values |= task.randomize(count, generator)
        for change in changes:
            shape = (count, 3 if change.adds else 1)
            shares = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
            drawn = change.low + shares * (change.high - change.low)
            for name, mask in change.masks.items():
                here = mask.to(generator.device)
                number = drawn.view(count, *[1] * (here.dim() - 1), -1) if here.dim() else drawn
                factor = 1.0 / number if name == DIVIDED else number
                changed = values[name] + number if change.adds else values[name] * factor
                values[name] = torch.where(here, changed, values[name])
        return values

    return dataclasses.replace(task, randomize=randomize)


def _changes(model: MjModel, name: str, value: Any) -> list[Change]:  # noqa: ANN401 - whatever a user wrote
    """Return what one entry of `task.randomize` changes: one range for all parts, or {expression: range}."""
    if name not in KINDS:
        raise InputError(
            f"task.randomize names {name!r}, which cannot be randomised; it takes {', '.join(KINDS)}"
        )
    kind = KINDS[name]
    if not isinstance(value, Mapping):
        return [_change(model, name, kind, f"task.randomize of {name}", value, None)]
    if not kind.owner:
        raise InputError(f"task.randomize of {name} has no parts; give one range [low, high]")
    names = part_names(model, kind.owner)
    result = []
    for expression, limits in value.items():
        what = f"task.randomize of {name}"
        parts = matching(what, expression, names, kind.owner)
        result.append(_change(model, name, kind, f"{what} {expression}", limits, parts))
    return result


def _change(
    model: MjModel,
    name: str,
    kind: Kind,
    what: str,
    limits: Any,  # noqa: ANN401 - whatever a user wrote
    parts: Sequence[str] | None,
) -> Change:
    """Check one range and find where its number goes."""
    smallest = -LARGEST_SHIFT if kind.adds else SMALLEST_FACTOR
    low, high = pair(what, limits, smallest, LARGEST_SHIFT if kind.adds else LARGEST_FACTOR)
    if name in ("actuator_kp", "actuator_kd"):
        _check_gains(model, name, what, parts)
    masks = {}
    for field, column in kind.writes:
        base = _field(model, field)
        mask = torch.zeros(base.shape, dtype=torch.bool)
        rows = _rows(model, kind.owner, field, parts)
        if name == "com" and parts is None:
            rows = np.arange(model.nbody) == _trunk(model)
        if not kind.owner:
            mask[:] = True
        elif column is None:
            mask[torch.from_numpy(rows)] = True
        else:
            mask[torch.from_numpy(rows), column] = True
        if name == "actuator_kp" and field == "actuator_biasprm":
            mask[torch.from_numpy(rows & _velocity_servos(model)), 2] = True
        if kind.adds or bool((base[mask] != 0.0).any()):
            masks[field] = mask
    if not masks:
        raise InputError(f"{what} scales nothing: the model has 0 there; leave it out")
    return Change(low, high, kind.adds, masks)


def _check_gains(model: MjModel, name: str, what: str, parts: Sequence[str] | None) -> None:
    """Raise InputError if an actuator has no gain that `name` can scale alone."""
    import mujoco

    other = np.asarray(model.actuator_gaintype) != int(mujoco.mjtGain.mjGAIN_FIXED)
    reasons = [(other, "has no constant gain (gaintype fixed)")]
    if name == "actuator_kd":
        reasons.append((_velocity_servos(model), "is a velocity servo, whose gain is actuator_kp"))
    rows = _rows(model, "actuator", "actuator_gainprm", parts)
    for wrong, reason in reasons:
        for i in np.flatnonzero(wrong & rows):
            raise InputError(
                f"{what}: the actuator {part_names(model, 'actuator')[i]!r} {reason}; leave {name} out, or name the "
                f"other actuators: task.randomize={{{name}: {{EXPRESSION: [0.9, 1.1]}}}}"
            )


def _velocity_servos(model: MjModel) -> npt.NDArray[np.bool_]:
    """Return which actuators have the force gain * (command - velocity)."""
    gain, bias = np.asarray(model.actuator_gainprm)[:, 0], np.asarray(model.actuator_biasprm)
    found: npt.NDArray[np.bool_] = (gain != 0.0) & (bias[:, 1] == 0.0) & (bias[:, 2] == -gain)
    return found


def _trunk(model: MjModel) -> int:
    """Return the body that `com` without parts shifts."""
    body = robot_body(model)
    if body is None:
        raise InputError(
            "task.randomize of com without bodies shifts the trunk of a robot that can move away, and this one is "
            "fixed to the world; name bodies: task.randomize={com: {BODY: [-0.02, 0.02]}}"
        )
    return body


def part_names(model: MjModel, owner: str) -> list[str]:
    """Return the names of all parts of a kind, "" where one has none."""
    if owner == "actuator":
        return list(actuator_names(model))
    counts = {"geom": model.ngeom, "body": model.nbody, "joint": model.njnt}
    return [str(getattr(model, owner)(i).name) for i in range(counts[owner])]


def _rows(model: MjModel, owner: str, field: str, parts: Sequence[str] | None) -> npt.NDArray[np.bool_]:
    """Return which rows of a field belong to the parts."""
    if not owner:
        return np.zeros(0, dtype=bool)
    rows: npt.NDArray[np.bool_] = np.array(
        [parts is None or name in parts for name in part_names(model, owner)], dtype=bool
    )
    if owner == "joint":  # the rows are degrees of freedom
        rows = rows[np.asarray(model.dof_jntid)]
    elif field.startswith("pair_"):
        rows = rows[np.asarray(model.pair_geom1)] | rows[np.asarray(model.pair_geom2)]
    elif field.startswith("jnt_"):  # of the joints that the chosen actuators drive
        driven = {driven_joint(model, int(i)) for i in np.flatnonzero(rows)}
        rows = np.array([joint in driven for joint in range(model.njnt)])
    return rows


def _field(model: MjModel, name: str) -> Tensor:
    """Return a field of MjModel as float64: "body_mass", or "opt.gravity"."""
    value: Any = model
    for part in name.split("."):
        value = getattr(value, part)
    return torch.from_numpy(np.array(value, dtype=np.float64))
