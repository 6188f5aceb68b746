"""The part of a model that can move away without a limit: the robot's trunk, where the robot is not fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mujoco import MjModel


def moving_body(model: MjModel) -> int | None:
    """Return the first body of the world with a free joint or a slide joint without limits; None: there is none."""
    import mujoco

    kinds, limited = np.asarray(model.jnt_type), np.asarray(model.jnt_limited).astype(bool)
    free = kinds == int(mujoco.mjtJoint.mjJNT_FREE)
    slides = (kinds == int(mujoco.mjtJoint.mjJNT_SLIDE)) & ~limited
    for joint in np.flatnonzero(free | slides):
        body = int(model.jnt_bodyid[joint])
        if model.body_parentid[body] == 0:
            return body
    return None


def free_joint(model: MjModel) -> int | None:
    """Return the number of the first free joint; None: the robot is fixed."""
    import mujoco

    free = np.flatnonzero(np.asarray(model.jnt_type) == int(mujoco.mjtJoint.mjJNT_FREE))
    return int(free[0]) if len(free) else None
