"""Names and units that a MuJoCo model gives to its actuators and to the entries of its state."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mujoco import MjModel


class Entry(NamedTuple):
    """A named stretch of a flat vector."""

    name: str
    width: int
    unit: str


def actuator_names(model: MjModel) -> tuple[str, ...]:
    """Name each actuator: by its joint if no other actuator drives it, else by its own name, else `actuator_i`."""
    import mujoco

    on_a_joint = (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT)
    own = [model.actuator(i).name or f"actuator_{i}" for i in range(model.nu)]
    joints = [
        model.joint(model.actuator_trnid[i, 0]).name
        if mujoco.mjtTrn(model.actuator_trntype[i]) in on_a_joint
        else ""
        for i in range(model.nu)
    ]
    drives = Counter(joints)
    names = [joint if joint and drives[joint] == 1 else name for joint, name in zip(joints, own, strict=True)]
    # A tendon's actuator may carry the name of a joint that another actuator drives.
    return tuple(names if len(set(names)) == len(names) else own)


def position_entries(model: MjModel) -> list[Entry]:
    """Name each entry of qpos: "position:knee" in rad or m, "orientation:root.w" of a unit quaternion."""
    import mujoco

    entries: list[Entry] = []
    for i in range(model.njnt):
        joint, kind = _joint_name(model, i), mujoco.mjtJoint(model.jnt_type[i])
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            entries += [Entry(f"position:{joint}.{axis}", 1, "m") for axis in "xyz"]
        if kind in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL):
            entries += [Entry(f"orientation:{joint}.{part}", 1, "") for part in "wxyz"]
        else:
            entries.append(
                Entry(f"position:{joint}", 1, "m" if kind == mujoco.mjtJoint.mjJNT_SLIDE else "rad")
            )
    return entries


def velocity_entries(model: MjModel) -> list[Entry]:
    """Name each entry of qvel: "velocity:knee" in rad/s or m/s, "angular_velocity:root.x" in rad/s."""
    import mujoco

    entries: list[Entry] = []
    for i in range(model.njnt):
        joint, kind = _joint_name(model, i), mujoco.mjtJoint(model.jnt_type[i])
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            entries += [Entry(f"velocity:{joint}.{axis}", 1, "m/s") for axis in "xyz"]
        if kind in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL):
            entries += [Entry(f"angular_velocity:{joint}.{axis}", 1, "rad/s") for axis in "xyz"]
        else:
            slide = kind == mujoco.mjtJoint.mjJNT_SLIDE
            entries.append(Entry(f"velocity:{joint}", 1, "m/s" if slide else "rad/s"))
    return entries


def _joint_name(model: MjModel, index: int) -> str:
    return str(model.joint(index).name or f"joint_{index}")
