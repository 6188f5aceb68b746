"""The part of a model that can move away without a limit: the robot's trunk, where the robot is not fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mujoco import MjModel


def moving_body(model: MjModel) -> int | None:
    """Return the first body of the world with a free joint or a slide joint without limits; None: there is none.

    One that an actuator drives comes before loose objects.
    """
    import mujoco

    kinds, limited = np.asarray(model.jnt_type), np.asarray(model.jnt_limited).astype(bool)
    free = kinds == int(mujoco.mjtJoint.mjJNT_FREE)
    slides = (kinds == int(mujoco.mjtJoint.mjJNT_SLIDE)) & ~limited
    bodies = [int(model.jnt_bodyid[joint]) for joint in np.flatnonzero(free | slides)]
    bodies, robots = [body for body in bodies if model.body_parentid[body] == 0], driven_roots(model)
    return next(iter([*(body for body in bodies if body in robots), *bodies]), None)


def robot_body(model: MjModel) -> int | None:
    """Return the moving body of the robot; None: the robot is fixed to the world, and loose objects alone move."""
    body, robots = moving_body(model), driven_roots(model)
    return body if body in robots or not robots else None


def driven_roots(model: MjModel) -> set[int]:
    """Return the bodies of the world that carry a joint with an actuator: robots, and no loose objects."""
    import mujoco

    on_joints = np.asarray(model.actuator_trntype) == int(mujoco.mjtTrn.mjTRN_JOINT)
    joints = np.asarray(model.actuator_trnid)[on_joints, 0]
    return {int(root) for root in np.asarray(model.body_rootid)[np.asarray(model.jnt_bodyid)[joints]]}


def driven_bases(model: MjModel) -> list[int]:
    """Return the numbers of the free joints of robots."""
    roots = driven_roots(model)
    return [joint for joint in _free_joints(model) if int(model.jnt_bodyid[joint]) in roots]


def free_joint(model: MjModel) -> int | None:
    """Return the number of the robot's free joint; None: it has none.

    It is the model's first one if no actuator drives a joint.
    """
    return next(iter(driven_bases(model) if driven_roots(model) else _free_joints(model)), None)


def loose_objects(model: MjModel) -> set[int]:
    """Return the bodies with a free joint that are no robots."""
    return {int(model.jnt_bodyid[joint]) for joint in _free_joints(model)} - driven_roots(model)


def _free_joints(model: MjModel) -> list[int]:
    import mujoco

    free = np.flatnonzero(np.asarray(model.jnt_type) == int(mujoco.mjtJoint.mjJNT_FREE))
    return [int(joint) for joint in free]
