"""Which joints of a model an option names, by regular expressions over the joints' names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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


def by_joint(option: str, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return `{joint: value}` for an option whose keys are regular expressions over whole names of joints.

    Where several match a joint, the last one counts.

    Raises:
        InputError: if an expression cannot be read or matches no joint.
    """
    result: dict[str, Any] = {}
    for expression, value in values.items():
        try:
            matching = [name for name in names if re.fullmatch(expression, name)]
        except re.error as error:
            raise InputError(
                f"{option} has the key {expression!r}, which is no regular expression: {error}"
            ) from error
        if not matching:
            raise InputError(
                f"{option} has the key {expression!r}, which matches no joint; the model has {', '.join(names)}"
            )
        result |= dict.fromkeys(matching, value)
    return {name: result[name] for name in names if name in result}


def number(option: str, value: Any, low: float = -1e9, high: float = 1e9) -> float:  # noqa: ANN401
    """Return a value of an option as a number.

    Raises:
        InputError: if it is none between `low` and `high`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{option} is {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)


def pair(option: str, value: Any, low: float = -1e9, high: float = 1e9) -> tuple[float, float]:  # noqa: ANN401
    """Return a range [low, high] of an option.

    Raises:
        InputError: if it is not two numbers in this order.
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"{option} is {value!r}; expected two numbers [low, high]")
    first, last = (number(option, part, low, high) for part in value)
    if first > last:
        raise InputError(f"{option} is {list(value)}, an empty range; expected [low, high], low first")
    return first, last
