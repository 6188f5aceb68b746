"""The numbers of a robot's task: `task.kwargs`, read into a dataclass, and `task.reward`, the weights of its terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from acer_robot.errors import InputError
from acer_robot.tasks.model.numbers import number, pair

Settings = TypeVar("Settings")

SMALLEST, LARGEST = 1e-5, 1e5
"""Range of a number whose default is above 0."""


def read_settings(kwargs: Mapping[str, Any], kind: type[Settings]) -> Settings:
    """Return the dataclass `kind` with the numbers, ranges and names of `task.kwargs`.

    Each value must be of its default's kind. A number must be above 0, unless MAY_BE_ZERO of `kind` has its name, and
    at most what HIGHEST of `kind` says.

    Raises:
        InputError: if a name is not known, or a value cannot be used.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name not in known:
            raise InputError(f"task.kwargs names {name!r}, which is not known; it takes {', '.join(known)}")
        what, default = f"task.kwargs has {name}, which", known[name].default
        if isinstance(default, tuple):
            values[name] = pair(what, value, -LARGEST, LARGEST)
        elif isinstance(default, str):
            if not isinstance(value, str):
                raise InputError(f"{what} is {value!r}; expected a name")
            values[name] = value
        elif value is None and default is None:
            values[name] = None
        else:
            lowest = 0.0 if name in getattr(kind, "MAY_BE_ZERO", ()) else SMALLEST
            highest = getattr(kind, "HIGHEST", {}).get(name, LARGEST)
            values[name] = number(what, value, lowest, highest)
    return kind(**values)


def read_weights(given: Mapping[str, Any], defaults: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each term of the reward.

    Raises:
        InputError: if a term is not known, or a weight is no number from 0.
    """
    for name, value in given.items():
        if name not in defaults:
            raise InputError(f"task.reward names {name!r}, which is no term; it takes {', '.join(defaults)}")
        number(f"task.reward of {name}", value, 0.0)
    return dict(defaults) | {str(name): float(value) for name, value in given.items()}


def physics_steps(control_dt: float, timestep: float) -> int:
    """Return the physics steps of one command.

    Raises:
        InputError: if they are not a whole number.
    """
    steps = control_dt / timestep
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
        raise InputError(
            f"task.kwargs has control_dt={control_dt:g}, which is no multiple of the physics step of {timestep:g} s; "
            f"give one that is, or another step: task.kwargs={{timestep: {control_dt / max(1, round(steps)):g}}}"
        )
    return round(steps)
