"""What each entry of a task's flat observation means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from acer_robot.spec import ObservationField
from acer_robot.tasks.model.names import Entry, position_entries, velocity_entries

if TYPE_CHECKING:
    from mujoco import MjModel

CLIPPED_VELOCITIES = ("Hopper-v5", "Walker2d-v5")
"""Tasks whose observed velocities Gymnasium clips to [-10, 10]; a controller must do the same."""


def fields(entries: Sequence[Entry]) -> tuple[ObservationField, ...]:
    """Lay `entries` end to end. Empty entries are left out."""
    result: list[ObservationField] = []
    start = 0
    for name, width, unit in entries:
        if width:
            result.append(ObservationField(name, start, start + width, unit))
        start += width
    return tuple(result)


def model_layout(task_id: str, model: MjModel, structure: dict[str, int] | None, size: int) -> list[Entry]:
    """Name a Gymnasium MuJoCo observation of width `size`: per joint where that is certain, else one block.

    Args:
        task_id: the registered id without a module, for the tasks that do not describe themselves.
        model: a `mujoco.MjModel`.
        structure: `observation_structure` of the environment, the widths of its blocks in order.
        size: width of the observation.
    """
    entries = [Entry("observation", size, "")]
    if task_id in DESCRIBED:
        entries = DESCRIBED[task_id](position_entries(model), velocity_entries(model))
    elif structure is not None:
        entries = _structured(task_id, model, structure)
    return entries if sum(entry.width for entry in entries) == size else [Entry("observation", size, "")]


def _structured(task_id: str, model: MjModel, structure: dict[str, int]) -> list[Entry]:
    """Name qpos (less its first `skipped_qpos` entries) and qvel per joint, and the others as blocks."""
    entries: list[Entry] = []
    skipped = structure.get("skipped_qpos", 0)
    for block, width in structure.items():
        if block == "qpos" and skipped + width == model.nq:
            entries += position_entries(model)[skipped:]
        elif block == "qvel" and width == model.nv:
            velocities = velocity_entries(model)
            entries += _clipped(velocities) if task_id in CLIPPED_VELOCITIES else velocities
        elif block != "skipped_qpos":
            entries.append(Entry(block, width, ""))
    return entries


def _clipped(entries: Sequence[Entry]) -> list[Entry]:
    return [entry._replace(name=f"clipped_{entry.name}") for entry in entries]


def _of_angle(function: str, position: Entry) -> Entry:
    return Entry(f"{function}:{position.name.removeprefix('position:')}", 1, "")


def _reacher(positions: list[Entry], velocities: list[Entry]) -> list[Entry]:
    arm, target = positions[:2], positions[2:]
    angles = [_of_angle(function, joint) for function in ("cos", "sin") for joint in arm]
    return [*angles, *target, *velocities[:2], Entry("target_to_fingertip", 2, "m")]


def _pusher(positions: list[Entry], velocities: list[Entry]) -> list[Entry]:
    points = [Entry(name, 3, "m") for name in ("tips_arm", "object", "goal")]
    return [*positions[:7], *velocities[:7], *points]


def _inverted_double_pendulum(positions: list[Entry], velocities: list[Entry]) -> list[Entry]:
    cart, poles = positions[:1], positions[1:]
    angles = [_of_angle(function, joint) for function in ("sin", "cos") for joint in poles]
    force = Entry(f"clipped_constraint_force:{cart[0].name.removeprefix('position:')}", 1, "N")
    return [*cart, *angles, *_clipped(velocities), force]


DESCRIBED: dict[str, Callable[[list[Entry], list[Entry]], list[Entry]]] = {
    "Reacher-v5": _reacher,
    "Pusher-v5": _pusher,
    "InvertedDoublePendulum-v5": _inverted_double_pendulum,
}
"""The Gymnasium v5 tasks that have no `observation_structure`."""
