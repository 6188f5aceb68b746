"""Numbers and ranges in options, and options whose keys are regular expressions over names of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from acer_robot.errors import InputError


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


def by_name(
    option: str, values: Mapping[str, Any], names: Sequence[str], what: str = "joint"
) -> dict[str, Any]:
    """Return `{name: value}` for an option whose keys are regular expressions over whole names.

    Where several match a name, the last one counts.

    Raises:
        InputError: if an expression cannot be read or matches no name.
    """
    result: dict[str, Any] = {}
    for expression, value in values.items():
        result |= dict.fromkeys(matching(option, expression, names, what), value)
    return {name: result[name] for name in names if name in result}


def matching(option: str, expression: str, names: Sequence[str], what: str) -> list[str]:
    """Return the names that a regular expression matches as a whole.

    Raises:
        InputError: if it cannot be read or matches none; the message has the names that there are.
    """
    found = full_matches(option, expression, names)
    if not found:
        raise InputError(
            f"{option} has the key {expression!r}, which matches no {what}; the model has "
            f"{', '.join(filter(None, names))}"
        )
    return found


def full_matches(option: str, expression: object, names: Sequence[str]) -> list[str]:
    """Return the names that a regular expression matches as a whole, which may be none.

    Raises:
        InputError: if it cannot be read.
    """
    if not isinstance(expression, str):
        raise InputError(
            f"{option} has the key {expression!r}; expected a name, or a regular expression over names"
        )
    try:
        return [name for name in names if re.fullmatch(expression, name)]
    except re.error as error:
        raise InputError(
            f"{option} has the key {expression!r}, which is no regular expression: {error}"
        ) from error
