"""Which cameras a picture can be taken from, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acer_robot.errors import InputError

if TYPE_CHECKING:
    from mujoco import MjModel

TRACKING = "tracking"
"""The camera that follows the robot; each task has one, unless its robot is fixed."""
FREE = "free"
"""The camera that stands still and shows the whole model."""


def camera_names(model: MjModel) -> list[str]:
    """Return what `camera` takes: tracking, free, and the model's own cameras, by number where they have no name."""
    import mujoco

    kind = mujoco.mjtObj.mjOBJ_CAMERA
    own = [mujoco.mj_id2name(model, kind, i) or str(i) for i in range(model.ncam)]
    return [*(name for name in (TRACKING, FREE) if name not in own), *own]


def find_camera(model: MjModel, name: str, task_id: str) -> int | None:
    """Return the number of a camera; -1: the free one; None: the one that follows the robot.

    Raises:
        InputError: if the model has no camera of that name; the message has the names that there are.
    """
    import mujoco

    known = camera_names(model)
    if name not in known:
        raise InputError(f"camera={name!r} is not a camera of {task_id}, which has {', '.join(known)}")
    number = int(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name))
    if number >= 0:
        return number
    if name in (TRACKING, FREE):
        return None if name == TRACKING else -1
    return int(name)
