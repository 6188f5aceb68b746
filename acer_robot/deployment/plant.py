"""A plant: the robot that a drive reads and commands. A user writes it; this module loads and checks it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError, first_line, named
from acer_robot.robot_description import check_robot, is_equal, plain
from acer_robot.spec import TaskSpec

Vector = npt.NDArray[np.float32]


class Plant(Protocol):
    """A robot. No method may block for longer than a part of the control period.

    It may also have `describe()`, which returns a dictionary with any of joints, units, bounds ([[low, high], ..]), dt
    and actuators (docs/driving.md), and `measured()`, which returns what the robot does now, in the command's units, or
    None.
    """

    def connect(self) -> None:
        """Connect to the robot. Nothing may move."""

    def read(self) -> tuple[Vector, float] | None:
        """Return the newest observation and when it was measured, in seconds of `time.monotonic()`.

        Where nothing newer has arrived, return the same again. None: nothing has arrived yet.
        """

    def write(self, command: Vector) -> None:
        """Send a command [m] in the units of the policy's bounds."""

    def close(self) -> None:
        """Take the power off or hand the robot over. It is called last and once, also if `connect` failed."""


def load_plant(name: str) -> Plant:
    """Return what `module:function` returns.

    Raises:
        InputError: if there is no such function, it raises, or what it returns lacks a method.
    """
    module, _, function = name.partition(":")
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise InputError(
            f"plant={name!r} is not module:function; expected, for example, plant=my_robot:make_plant"
        )
    try:
        make = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if name.partition(":")[0].endswith(".py"):
            raise InputError(
                f"plant={name!r}: write plant={module.removesuffix('.py')}:{function}"
            ) from error
        missing = module == error.name or module.startswith(f"{error.name}.")
        advice = (
            "put the folder that holds it on PYTHONPATH" if missing else f"{module} imports it: install it"
        )
        raise InputError(f"plant={name!r}: {first_line(error)}; {advice}") from error
    except AttributeError as error:
        raise InputError(f"plant={name!r}: {first_line(error)}") from error
    except Exception as error:  # a user's module may raise anything
        raise InputError(f"plant={name!r} cannot be imported: {named(error)}") from error
    try:
        plant: Plant = make()
    except Exception as error:  # a user's function may raise anything
        raise InputError(f"plant={name!r} cannot be made: {named(error)}") from error
    for method in ("connect", "read", "write", "close"):
        if not callable(getattr(plant, method, None)):
            raise InputError(
                f"plant={name!r} returned a {type(plant).__name__} without {method}(); "
                f"it needs connect, read, write and close"
            )
    return plant


def check_plant(plant: Plant, spec: TaskSpec, robot: Mapping[str, Any] | None) -> None:
    """Raise InputError if the plant describes another robot than the one that the file was made for.

    Args:
        plant: the plant. Without `describe()` there is nothing to compare.
        spec: the file's task.
        robot: the entry "robot" of the file's metadata; None: the file is too old, or has none.
    """
    describe = getattr(plant, "describe", None)
    if describe is None:
        return
    try:
        description = describe()
    except Exception as error:  # a user's function may raise anything
        raise InputError(f"the plant's describe() failed: {named(error)}") from error
    if not isinstance(description, Mapping):
        raise InputError(
            f"the plant's describe() returned a {type(description).__name__}; expected a dictionary"
        )
    known = {"joints", "units", "bounds", "dt", "actuators", "model_sha256"}
    if unknown := sorted(map(str, set(description) - known)):
        raise InputError(f"the plant's describe() has {unknown[0]!r}; it may have {', '.join(sorted(known))}")
    bounds = spec.bounds
    ours = {
        "joints": list(bounds.names),
        "dt": spec.control_dt,
        "bounds": [list(pair) for pair in zip(bounds.low, bounds.high, strict=True)],
    }
    told = sorted({"units", "actuators", "model_sha256"} & set(description))
    if robot is None and told:
        raise InputError(
            f"the plant's describe() has {told[0]!r}, and the file does not say for which robot it was made: there is "
            f"nothing to compare; leave {', '.join(told)} out"
        )
    if robot is not None:
        ours |= {"units": [actuator["unit"] for actuator in robot["actuators"]], **robot}
    for name in ("joints", "dt", "bounds", "units"):
        if name in description and name in ours:
            _check_entry(name, plain(description[name]), ours[name], bounds.names)
    if robot is not None:
        check_robot(robot, {**description, "actuators": description.get("actuators", [])}, "the plant")


def checked_reading(reading: Any, width: int) -> tuple[Vector | None, float | None]:  # noqa: ANN401 (a user's value)
    """Return what `read` returned, if it can be used.

    Raises:
        InputError: if it is not a float32 observation of that width and a number.
    """
    if reading is None:
        return None, None
    if not isinstance(reading, tuple) or len(reading) != 2:
        raise InputError(
            f"the plant's read() returned {_kind(reading)}; expected (observation, time.monotonic())"
        )
    observation, stamp = reading
    if not isinstance(observation, np.ndarray) or observation.dtype != np.float32:
        raise InputError(
            f"the plant's read() returned {_kind(observation)} as the observation; expected a float32 array [{width}]"
        )
    if observation.shape != (width,):
        raise InputError(
            f"the plant's read() returned an observation of shape {list(observation.shape)}; the policy takes [{width}]"
        )
    if isinstance(stamp, np.floating) and np.finfo(stamp.dtype).bits < 64:
        step = float(np.spacing(np.abs(stamp)))
        raise InputError(
            f"the plant's read() returned a {stamp.dtype} as the time, which has steps of {step:.2g} s here; expected "
            f"time.monotonic() as a float"
        )
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | np.floating):
        raise InputError(f"the plant's read() returned {_kind(stamp)} as the time; expected time.monotonic()")
    return observation, float(stamp)


def measured(plant: Plant, joints: int) -> Vector | None:
    """Return what the robot does now, in the command's units; None if the plant cannot say, or cannot say yet.

    Raises:
        InputError: if the plant's `measured()` returns anything else than one number for each joint.
    """
    ask = getattr(plant, "measured", None)
    if ask is None:
        return None
    try:
        given = ask()
        if given is None:
            return None
        values = np.asarray(given, np.float32)
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise InputError(f"the plant's measured() failed: {named(error)}") from error
    if values.shape != (joints,):
        raise InputError(
            f"the plant's measured() returned the shape {list(values.shape)}; expected [{joints}]"
        )
    return values


def _check_entry(name: str, got: Any, expected: Any, joints: tuple[str, ...]) -> None:  # noqa: ANN401
    if is_equal(got, expected):
        return
    if (
        isinstance(expected, list)
        and isinstance(got, list)
        and len(got) == len(expected)
        and name != "joints"
    ):
        which = next(i for i in range(len(expected)) if not is_equal(got[i], expected[i]))
        raise InputError(
            f"joint {joints[which]!r}: the plant has {name} {got[which]}, but the file was made for {expected[which]}"
        )
    raise InputError(f"the plant has {name} {got}, but the file was made for {expected}")


def _kind(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return f"{value!r}" if isinstance(value, str | int | float) else f"a {type(value).__name__}"
