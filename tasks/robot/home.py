"""The home pose of a robot: the file's keyframe or `task.home`, standing on the floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.tasks.model.moving_body import driven_bases, driven_roots
from acer_robot.tasks.model.numbers import by_name, number

if TYPE_CHECKING:
    from mujoco import MjModel

KEYFRAME = "home"
"""Keyframe of a file that is its home pose; else it is the first one."""
SLACK = 1e-3
"""Radians or metres by which a home pose may exceed a joint's range."""
TURN = 2 * np.pi
"""Largest angle in rad of a hinge without a range."""
FAR = 1e3
"""Largest distance in metres to the floor that is looked at."""


def keyframe(model: MjModel) -> npt.NDArray[np.float64] | None:
    """Return qpos of the file's home keyframe; None: it has no keyframe."""
    if not model.nkey:
        return None
    names = [model.key(i).name for i in range(model.nkey)]
    return np.array(model.key_qpos[names.index(KEYFRAME) if KEYFRAME in names else 0])


def home_pose(
    model: MjModel, start: npt.NDArray[np.float64] | None, wanted: Mapping[str, Any], floor: int | None
) -> npt.NDArray[np.float64]:
    """Return qpos of the home pose: the keyframe `start` or the model's own pose, changed by `task.home`.

    Without a keyframe, or with `task.home`, a robot with a free base is put down until it touches the floor.

    Args:
        model: the compiled model.
        start: qpos of a keyframe; None: there is none.
        wanted: {expression: angle}, `task.home`.
        floor: number of the floor's geom; None: there is none to stand on.

    Raises:
        InputError: if a name matches no joint, or a joint would be outside its range.
    """
    joints = movable(model)
    qpos = np.array(model.qpos0 if start is None else start)
    given = by_name("task.home", wanted, list(joints))
    for name, value in given.items():
        qpos[model.jnt_qposadr[joints[name]]] = number(f"task.home of joint {name!r}", value)
    for name, joint in joints.items():
        low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-np.inf, np.inf)
        value = qpos[model.jnt_qposadr[joint]]
        if name in given and not model.jnt_limited[joint] and _is_hinge(model, joint) and abs(value) > TURN:
            raise InputError(
                f"task.home of joint {name!r} is {value:g}, more than a turn of {TURN:.2f}; give it in rad: "
                f"task.home={{{name}: {np.deg2rad(value):.2f}}} if these are degrees"
            )
        if not low - SLACK <= value <= high + SLACK:
            raise InputError(
                f"the home pose has joint {name!r} at {value:g}, outside its range [{low:g}, {high:g}]; give an angle "
                f"within it: task.home={{{name}: {np.clip(0.5 * (low + high), low, high):.2f}}}"
            )
    base = next(iter(driven_bases(model)), None)
    if base is not None and floor is not None and (start is None or wanted):
        qpos[model.jnt_qposadr[base] + 2] -= distance_to_floor(model, qpos, floor)
    return qpos


def _is_hinge(model: MjModel, joint: int) -> bool:
    import mujoco

    return int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_HINGE)


def movable(model: MjModel) -> dict[str, int]:
    """Return name and number of each hinge and slide."""
    import mujoco

    kinds = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    return {str(model.joint(i).name): i for i in range(model.njnt) if int(model.jnt_type[i]) in kinds}


def collides(model: MjModel, geom: int, other: int) -> bool:
    """Return whether two geoms can touch."""
    types, affinities = model.geom_contype, model.geom_conaffinity
    return bool((types[geom] & affinities[other]) | (types[other] & affinities[geom]))


def distance_to_floor(model: MjModel, qpos: npt.NDArray[np.float64], floor: int) -> float:
    """Return the distance in metres between the robot's lowest colliding geom and the floor; below it: negative."""
    distances = distances_to_floor(model, qpos, floor)
    return min(distances.values(), default=0.0)


def distances_to_floor(model: MjModel, qpos: npt.NDArray[np.float64], floor: int) -> dict[int, float]:
    """Return {geom: distance in metres to the floor} for all geoms of the robot that collide with it."""
    import mujoco

    data, robots = mujoco.MjData(model), driven_roots(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    return {
        geom: float(mujoco.mj_geomDistance(model, data, floor, geom, FAR, None))
        for geom in range(model.ngeom)
        if int(model.body_rootid[model.geom_bodyid[geom]]) in robots and collides(model, floor, geom)
    }
