"""What a policy was made for: the kind, gear, gain and limits of each actuator, and the model file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from acer_robot.errors import InputError

RELATIVE = 1e-9
"""Largest relative difference of two numbers that count as equal."""


@dataclass(frozen=True)
class Actuator:
    """One actuator, as docs/driving.md describes it."""

    joint: str
    """Name of its command."""
    kind: str
    """motor, position, velocity or general."""
    gear: float
    gain: tuple[float, ...]
    """The first three parameters of the gain."""
    bias: tuple[float, ...]
    """The first three parameters of the bias."""
    force_limit: tuple[float, float] | None
    """Lowest and highest force; None: no limit."""
    unit: str
    """Unit of the command; "" where it has none."""


@dataclass(frozen=True)
class RobotDescription:
    """The actuators of a robot in the order of the commands."""

    actuators: tuple[Actuator, ...]
    model_sha256: str | None = None
    """sha256 of the model file; None: the model has no single file."""
    home: tuple[float, ...] | None = None
    """Commands that hold the home pose, where all actuators take positions; None: there are none."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry "robot" of policy.json."""
        return {
            "joints": [actuator.joint for actuator in self.actuators],
            "actuators": [
                {field.name: plain(getattr(actuator, field.name)) for field in fields(actuator)}
                for actuator in self.actuators
            ],
            "model_sha256": self.model_sha256,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RobotDescription:
        """Return what `dataclasses.asdict` or `to_dict` described, also if JSON turned its tuples into lists.

        Raises:
            KeyError, TypeError: if the values do not describe a robot.
        """
        entries: list[dict[str, Any]] = [
            {name: tuple(v) if isinstance(v, list) else v for name, v in dict(actuator).items()}
            for actuator in data["actuators"]
        ]
        actuators = tuple(Actuator(**entry) for entry in entries)
        home = data.get("home")
        return cls(actuators, data.get("model_sha256"), None if home is None else tuple(home))


def check_robot(file: Mapping[str, Any], here: Mapping[str, Any], where: str) -> None:
    """Raise InputError if a robot differs from the one that a file was made for. The message names joint and entry.

    Args:
        file: the entry "robot" of policy.json.
        here: the robot in the same form. Entries that it leaves out are not compared.
        where: what the message calls it, such as "the plant".
    """
    theirs = _by_joint(here.get("actuators") or (), where)
    names = [actuator["joint"] for actuator in file["actuators"]]
    if theirs and list(theirs) != names:
        raise InputError(
            f"{where} has the actuators {', '.join(theirs)}, but the file was made for {', '.join(names)}"
        )
    for actuator in file["actuators"]:
        for entry, value in theirs.get(actuator["joint"], {}).items():
            if entry in actuator and not is_equal(plain(value), actuator[entry]):
                raise InputError(
                    f"joint {actuator['joint']!r}: {where} has {entry} {plain(value)}, but the file was made for "
                    f"{actuator[entry]}; drive the robot that it was made for, or train for this one"
                )
    hashes = file.get("model_sha256"), here.get("model_sha256")
    if None not in hashes and hashes[0] != hashes[1]:
        raise InputError(f"{where} has the model_sha256 {hashes[1]}, but the file was made for {hashes[0]}")


def _by_joint(actuators: Any, where: str) -> dict[str, Mapping[str, Any]]:  # noqa: ANN401 (a user's value)
    """Return described actuators by joint.

    Raises:
        InputError: if they are no list of dictionaries with a joint's name and entries of an actuator.
    """
    known = [field.name for field in fields(Actuator)]
    if not isinstance(actuators, Sequence) or isinstance(actuators, str):
        raise InputError(f"{where} has the actuators {actuators!r}; expected a list of dictionaries")
    for actuator in actuators:
        if not isinstance(actuator, Mapping) or not isinstance(actuator.get("joint"), str):
            raise InputError(
                f"{where} has the actuator {actuator!r}; expected a dictionary with 'joint': NAME"
            )
        if unknown := [str(key) for key in actuator if key not in known]:
            raise InputError(
                f"{where} has the actuator {actuator['joint']!r} with {unknown[0]!r}; it may have {', '.join(known)}"
            )
    return {actuator["joint"]: actuator for actuator in actuators}


def is_equal(left: Any, right: Any) -> bool:  # noqa: ANN401 (any JSON value)
    """Return whether two JSON values are equal, with numbers within `RELATIVE`."""
    if isinstance(left, Sequence) and isinstance(right, Sequence) and not isinstance(left, str):
        return len(left) == len(right) and all(map(is_equal, left, right))
    if _is_number(left) and _is_number(right):
        return math.isclose(left, right, rel_tol=RELATIVE, abs_tol=1e-12)
    return bool(left == right)


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return `value` with arrays and tuples as lists and numpy's numbers as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
