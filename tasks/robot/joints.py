"""The joints of a model that can be driven."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acer_robot.errors import InputError

if TYPE_CHECKING:
    from mujoco import MjSpec


def movable_joints(spec: MjSpec) -> list[Any]:
    """Return the hinges and slides of a model.

    Raises:
        InputError: if one has no name, or a joint is a ball.
    """
    import mujoco

    kinds = mujoco.mjtJoint
    found = []
    for number, joint in enumerate(spec.joints):
        if joint.type == kinds.mjJNT_BALL:
            raise InputError(
                f"the joint {joint.name or number!r} of body {joint.parent.name!r} is a ball joint, which task=robot "
                f"cannot use; replace it by three hinges"
            )
        if joint.type == kinds.mjJNT_FREE:
            continue
        if not joint.name:
            raise InputError(
                f"joint {number} of the model, in body {joint.parent.name!r}, has no name; give each joint a name"
            )
        found.append(joint)
    return found
