"""Kind, gear, gain and limits of the actuators of a MuJoCo model, and the commands that hold its home pose."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acer_robot.robot_description import Actuator, RobotDescription
from acer_robot.spec import ActionBounds

if TYPE_CHECKING:
    from mujoco import MjModel

COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
"""A comment of an MJCF file."""
INCLUDE = re.compile(rb"""<include\s[^>]*?\bfile\s*=\s*["']([^"']+)["']""")
"""What an MJCF file includes: the name of a file."""
HOME = "home"
"""Name of the keyframe that is a robot's home pose."""
UNITS = {"motor": ("N m", "N"), "position": ("rad", "m"), "velocity": ("rad/s", "m/s")}
"""Kind -> unit of the command for a hinge and for a slide. A motor's command times its gear is the torque or force."""


def describe_robot(model: MjModel, bounds: ActionBounds, file: str | None) -> RobotDescription:
    """Describe a model whose actuators get the commands of `bounds`, in this order.

    Args:
        model: the model.
        bounds: names and limits of the commands.
        file: the model's file; None: it has no single one.
    """
    limits = force_limits(model).tolist()
    actuators = tuple(_actuator(model, i, name, limits[i]) for i, name in enumerate(bounds.names))
    path = None if file is None else Path(file)
    digest = model_digest(path) if path is not None and path.is_file() else None
    return RobotDescription(actuators, digest, _home(model, bounds, actuators))


def model_digest(path: Path) -> str:
    """Return the sha256 of an MJCF file's bytes, followed by those of the files that it includes, in their order."""
    digest = hashlib.sha256()
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        content = file.read_bytes()
        digest.update(content)
        # No XML parser: MuJoCo's accepts what others refuse, such as "--" in a comment.
        names = [os.fsdecode(name) for name in INCLUDE.findall(COMMENT.sub(b"", content))]
        # MuJoCo looks in the folder of the first file and in that of the file that includes: whatever is there counts.
        places = [folder / name for name in names for folder in dict.fromkeys([path.parent, file.parent])]
        waiting = [place for place in places if place.is_file()] + waiting
    return digest.hexdigest()


def force_limits(model: MjModel) -> npt.NDArray[np.float64]:
    """Return the lowest and the highest force [nu, 2] of each actuator; infinite where there is no limit.

    It is the tighter of the actuator's `forcerange` and, over its gear, the `actuatorfrcrange` of its joint.
    """
    limits = joint_force_limits(model)
    limited = np.asarray(model.actuator_forcelimited).astype(bool)
    low, high = np.asarray(model.actuator_forcerange)[limited].T
    limits[limited] = np.stack([np.maximum(low, limits[limited, 0]), np.minimum(high, limits[limited, 1])], 1)
    return limits


def joint_force_limits(model: MjModel) -> npt.NDArray[np.float64]:
    """Return the forces [nu, 2] of each actuator beyond which its joint lets no more act."""
    limits = np.tile([-np.inf, np.inf], (model.nu, 1))
    for i, gear in enumerate(model.actuator_gear[:, 0]):
        joint = driven_joint(model, i)
        if joint is not None and model.jnt_actfrclimited[joint] and gear:
            limits[i] = np.sort(model.jnt_actfrcrange[joint] / gear)
    return limits


def _actuator(model: MjModel, i: int, name: str, force_limit: Sequence[float]) -> Actuator:
    kind, (low, high) = _kind(model, i), force_limit
    return Actuator(
        joint=name,
        kind=kind,
        gear=float(model.actuator_gear[i, 0]),
        gain=tuple(float(x) for x in model.actuator_gainprm[i, :3]),
        bias=tuple(float(x) for x in model.actuator_biasprm[i, :3]),
        force_limit=(low, high) if math.isfinite(low) else None,
        unit=_unit(model, i, kind),
    )


def _kind(model: MjModel, i: int) -> str:
    import mujoco

    fixed = model.actuator_gaintype[i] == mujoco.mjtGain.mjGAIN_FIXED
    if not fixed or model.actuator_dyntype[i] != mujoco.mjtDyn.mjDYN_NONE:
        return "general"
    if model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_NONE:
        return "motor"
    if model.actuator_biastype[i] != mujoco.mjtBias.mjBIAS_AFFINE:
        return "general"
    gain, (constant, position, velocity) = model.actuator_gainprm[i, 0], model.actuator_biasprm[i, :3]
    if constant == 0.0 and gain > 0.0 and position == -gain:
        return "position"
    if constant == 0.0 and position == 0.0 and velocity == -gain:
        return "velocity"
    return "general"


def driven_joint(model: MjModel, i: int) -> int | None:
    """Return the hinge or slide joint that actuator i drives; None: it drives something else."""
    import mujoco

    on_a_joint = (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT)
    if mujoco.mjtTrn(model.actuator_trntype[i]) not in on_a_joint:
        return None
    joint = int(model.actuator_trnid[i, 0])
    simple = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
    return joint if mujoco.mjtJoint(model.jnt_type[joint]) in simple else None


def _unit(model: MjModel, i: int, kind: str) -> str:
    import mujoco

    joint = driven_joint(model, i)
    if joint is None or kind not in UNITS:
        return ""
    return UNITS[kind][model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE]


def _home(model: MjModel, bounds: ActionBounds, actuators: tuple[Actuator, ...]) -> tuple[float, ...] | None:
    """Return the commands that hold the home pose: the keyframe "home", else the pose in which the model is written."""
    import mujoco

    joints = [driven_joint(model, i) for i in range(len(actuators))]
    if any(joint is None or a.kind != "position" for joint, a in zip(joints, actuators, strict=True)):
        return None
    key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, HOME)
    pose = model.qpos0 if key < 0 else model.key_qpos[key]
    lengths = [
        pose[model.jnt_qposadr[joint]] * actuator.gear
        for joint, actuator in zip(joints, actuators, strict=True)
        if joint is not None
    ]
    return tuple(float(x) for x in np.clip(lengths, bounds.low, bounds.high))
