"""The specification of a task: what a policy must know about it. Every room may import this module (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.robot_description import RobotDescription, check_robot
from acer_robot.shell import option_key

FloatArray = npt.NDArray[np.floating[Any]]
Numbers = TypeVar("Numbers", bound=Any)
"""A numpy array or a tensor. This module uses only operators that both have."""


@dataclass(frozen=True)
class ActionBounds:
    """Limits of the commands, one pair for each joint, in the command's units and in the order of the commands.

    Inside the learner an action is *canonical*: [-1, 1] per joint. This class maps it to a command:
    `command = low + (canonical + 1) / 2 * (high - low)`. A joint with `low == high` is legal and gets that constant.

    Raises:
        InputError: if the lengths differ, a bound is not finite, low exceeds high, or a name occurs twice.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rest: tuple[float, ...] = ()
    """Command of each joint at rest, such as the home pose of position targets. (): zero, or the middle of the bounds
    where they exclude zero."""

    def __post_init__(self) -> None:
        if not (len(self.names) == len(self.low) == len(self.high)) or not self.names:
            raise InputError(
                f"action bounds need one name, low and high per joint; "
                f"got {len(self.names)} names, {len(self.low)} lows, {len(self.high)} highs"
            )
        if len(set(self.names)) != len(self.names):
            raise InputError(f"joint names must be unique, got {list(self.names)}")
        if self.rest and len(self.rest) != len(self.names):
            raise InputError(
                f"action bounds have {len(self.names)} joints and {len(self.rest)} commands at rest"
            )
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not (np.isfinite(low) and np.isfinite(high)):
                raise InputError(
                    f"joint {name!r} has bounds [{low}, {high}], which are not finite; "
                    f"give it finite ones: task.bounds={{{option_key(name)}: [low, high]}}"
                )
            if low > high:
                raise InputError(f"joint {name!r} has low {low} above high {high}; swap them")
        for name, low, rest, high in zip(self.names, self.low, self.rest, self.high, strict=bool(self.rest)):
            if not low <= rest <= high:
                raise InputError(f"joint {name!r} rests at {rest}, outside its bounds [{low}, {high}]")

    @property
    def size(self) -> int:
        """The action dimension d."""
        return len(self.names)

    def to_command(self, canonical: FloatArray) -> FloatArray:
        """Map canonical actions [.., d] to commands [.., d] in actuator units, never outside the bounds."""
        return to_command(np.asarray(canonical), np.asarray(self.low), np.asarray(self.high))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        rest = {"rest": list(self.rest)} if self.rest else {}
        return {"names": list(self.names), "low": list(self.low), "high": list(self.high), **rest}


def to_command(canonical: Numbers, low: Numbers, high: Numbers) -> Numbers:
    """Map canonical actions to commands: `low + (canonical + 1) / 2 * (high - low)`, clipped to the bounds.

    Args:
        canonical: [.., d] in [-1, 1]; numpy arrays or tensors, of the same kind as the limits.
        low: [d] lower limits in actuator units.
        high: [d] upper limits.

    Returns:
        Commands [.., d] in actuator units. Their number type is the wider one of `canonical` and the limits.
    """
    command: Numbers = (low + (canonical + 1.0) * 0.5 * (high - low)).clip(low, high)
    return command


def to_canonical(command: Numbers, low: Numbers, high: Numbers) -> Numbers:
    """Map commands within the bounds to [-1, 1]. It is the inverse of `to_command`; a joint with low = high gets 0.

    Args:
        command: [.., d] in actuator units; numpy arrays or tensors, of the same kind as the limits.
        low: [d] lower limits in actuator units.
        high: [d] upper limits.

    Returns:
        Canonical actions [.., d].
    """
    half_range = 0.5 * high - 0.5 * low
    constant = half_range == 0.0
    canonical: Numbers = (command - (0.5 * high + 0.5 * low)) / (half_range + constant) * ~constant
    return canonical


def representable_limits(
    low: FloatArray, high: FloatArray, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Round limits inwards to `dtype`, so that a value clipped to them is also within the exact limits.

    If no number of that type lies between the limits (for example low = high = 0.1 in float32), both become the
    number that is nearest to their middle.

    Args:
        low: [d] exact lower limits.
        high: [d] exact upper limits.
        dtype: a floating type.

    Returns:
        Both limits [d] as float64 arrays of numbers that `dtype` holds exactly.
    """
    exact_low, exact_high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    infinity = np.asarray(np.inf, dtype=dtype)
    with np.errstate(over="ignore"):
        lower, upper = exact_low.astype(dtype), exact_high.astype(dtype)
    lower = np.where(lower < exact_low, np.nextafter(lower, infinity), lower)
    upper = np.where(upper > exact_high, np.nextafter(upper, -infinity), upper)
    nearest = (0.5 * exact_low + 0.5 * exact_high).astype(dtype)
    crossed = lower > upper
    lower, upper = np.where(crossed, nearest, lower), np.where(crossed, nearest, upper)
    return lower.astype(np.float64), upper.astype(np.float64)


def fallback_command(
    bounds: ActionBounds, overrides: Mapping[str, float] | None = None, option: str = "fallback"
) -> npt.NDArray[np.float64]:
    """Return the fallback command [d], for unusable observations and for rest, as numbers that float32 holds exactly.

    A joint gets its command at rest. Where the bounds record none, it gets 0 if its bounds contain 0, else the middle.

    Args:
        bounds: the joints.
        overrides: `{joint name: command}` in actuator units, instead of these values.
        option: name of the option that gives the overrides, for messages.

    Raises:
        InputError: for an override of an unknown joint, or one that is not a number within the joint's bounds.
    """
    low, high = representable_limits(np.asarray(bounds.low), np.asarray(bounds.high), np.float32)
    middle = (0.5 * low + 0.5 * high).astype(np.float32).astype(np.float64)
    command = np.where((low <= 0.0) & (high >= 0.0), 0.0, np.clip(middle, low, high))
    if bounds.rest:
        command = np.clip(np.asarray(bounds.rest).astype(np.float32).astype(np.float64), low, high)
    for name, value in (overrides or {}).items():
        if name not in bounds.names:
            raise InputError(f"{option} names joint {name!r}; this policy has {', '.join(bounds.names)}")
        i = bounds.names.index(name)
        if not bounds.low[i] <= value <= bounds.high[i]:
            raise InputError(
                f"{option} of joint {name!r} is {value!r}, outside its bounds "
                f"[{bounds.low[i]:g}, {bounds.high[i]:g}]"
            )
        command[i] = np.clip(np.float64(np.float32(value)), low[i], high[i])
    return command


def rest_command(spec: TaskSpec, overrides: Mapping[str, float] | None = None) -> npt.NDArray[np.float64]:
    """Return the commands [d] where a safe stop ends, as numbers that float32 holds exactly.

    They hold the home pose where all actuators take positions. Otherwise they are the fallback command: for torques
    zero, which is limp.

    Args:
        spec: the task.
        overrides: `{joint name: command}` in actuator units, instead of these values.

    Raises:
        InputError: for an override of an unknown joint, or one that is not a number within the joint's bounds.
    """
    home = spec.robot.home if spec.robot is not None else None
    values = {} if home is None else dict(zip(spec.bounds.names, home, strict=True))
    return fallback_command(spec.bounds, {**values, **(overrides or {})}, "rest")


def narrow_bounds(
    names: Sequence[str],
    low: Sequence[float],
    high: Sequence[float],
    overrides: Mapping[str, Any],
    rest: Sequence[float] = (),
) -> ActionBounds:
    """Return the model's bounds, with narrower bounds for the joints in `overrides`.

    Args:
        names: joint names, in actuator order.
        low: lower limits of the model in actuator units. One may be infinite if an override replaces it.
        high: upper limits; the same holds.
        overrides: `{joint name: [low, high]}`, each within the model's range.
        rest: the commands at rest; they are clipped to the narrower bounds.

    Raises:
        InputError: for an unknown joint, a pair that is not two finite numbers with low <= high, or a pair that is
            wider than the model's range. Also if a bound is not finite and no override replaces it.
    """
    new_low, new_high = [float(x) for x in low], [float(x) for x in high]
    for name, pair in overrides.items():
        if name not in names:
            raise InputError(f"task.bounds names joint {name!r}; this task has {', '.join(names)}")
        lower, upper = _finite_pair(name, pair)
        i = list(names).index(name)
        if lower < new_low[i] or upper > new_high[i]:
            raise InputError(
                f"task.bounds of joint {name!r} is {list(pair)}, wider than the model's "
                f"[{new_low[i]:g}, {new_high[i]:g}]; bounds can only be narrowed"
            )
        new_low[i], new_high[i] = lower, upper
    clipped = tuple(min(max(x, new_low[i]), new_high[i]) for i, x in enumerate(rest))
    return ActionBounds(tuple(names), tuple(new_low), tuple(new_high), clipped)


def _finite_pair(name: str, given: Any) -> tuple[float, float]:  # noqa: ANN401 - whatever a user wrote
    """Return the override of joint `name` as two numbers, or raise InputError."""
    try:
        lower, upper = (float(x) for x in given)
    except (TypeError, ValueError):
        lower, upper = np.nan, np.nan
    if not (np.isfinite(lower) and np.isfinite(upper)) or lower > upper:
        raise InputError(
            f"task.bounds of joint {name!r} is {given}; expected two finite numbers [low, high], low first"
        )
    return lower, upper


@dataclass(frozen=True)
class ObservationField:
    """A named slice `[start, stop)` of the flat observation, with its unit ("" where unknown or mixed)."""

    name: str
    start: int
    stop: int
    unit: str = ""
    frame: str = ""
    """Frame that its axes belong to: "world", or the body that they turn with; "" where it has none."""


@dataclass(frozen=True)
class TaskSpec:
    """Everything about a task that a policy and an exported file record."""

    id: str
    """Short unique name, such as "gymnasium/HalfCheetah-v5" or "dm_control/walker-walk"."""
    observation: tuple[ObservationField, ...]
    """Layout of the flat float32 observation; the fields are contiguous and cover it."""
    bounds: ActionBounds
    """Names and limits of the commands. They are joint names and actuator units if `command_is_actuator` is true."""
    control_dt: float
    """Seconds between two commands, action repeat included."""
    frame_skip: int
    """Physics steps per environment step, action repeat not included."""
    action_repeat: int
    """Environment steps per command. The x-axis of every plot and table counts environment steps."""
    time_limit: int
    """Environment steps after which an episode is truncated; 0 if there is no limit."""
    versions: tuple[tuple[str, str], ...]
    """(package, version) pairs of the simulator stack."""
    slew_rate: tuple[float | None, ...] = ()
    """Largest change per second of each command, in its units. None: no limit for it. (): no limit for any."""
    low_pass_hz: float | None = None
    """Cut-off frequency in Hz of a first-order low-pass over the commands; None: there is no low-pass."""
    observes_last_command: bool = False
    """Whether the policy also observes the last command that the actuators got. It comes after the observation, as a
    canonical action. With a rate limit that command is part of the state. Runs before 0.2.0 did not observe it."""
    command_is_actuator: bool = True
    """Whether a command reaches MuJoCo's ctrl unchanged. False: only the environment defines what it means."""
    notes: tuple[str, ...] = ()
    """Facts about the task that the user of the policy must know, one sentence each."""
    robot: RobotDescription | None = None
    """Its actuators and model. None: the commands are the environment's own, or the file is from before 0.2.0."""

    @property
    def units(self) -> str:
        """The unit of the commands, in words."""
        return "MuJoCo's ctrl" if self.command_is_actuator else "the environment's"

    @property
    def observation_size(self) -> int:
        """Width n of the flat observation."""
        return self.observation[-1].stop

    @property
    def input_size(self) -> int:
        """Width of the policy's input: the observation, and the last command if the policy observes it."""
        return self.observation_size + self.action_size * self.observes_last_command

    @property
    def action_size(self) -> int:
        """Action dimension d."""
        return self.bounds.size

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; `TaskSpec.from_dict` is its inverse."""
        return asdict(self) | {"units": self.units}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskSpec:
        """Return the spec that `to_dict()` described, also if JSON turned its tuples into lists.

        Raises:
            InputError: if the values do not describe a task.
        """
        bounds = data["bounds"]
        spec = cls(
            id=data["id"],
            observation=tuple(ObservationField(**dict(field)) for field in data["observation"]),
            bounds=ActionBounds(
                tuple(bounds["names"]),
                tuple(bounds["low"]),
                tuple(bounds["high"]),
                tuple(bounds.get("rest", ())),
            ),
            control_dt=data["control_dt"],
            frame_skip=data["frame_skip"],
            action_repeat=data["action_repeat"],
            time_limit=data["time_limit"],
            versions=tuple((name, version) for name, version in data["versions"]),
            slew_rate=tuple(data.get("slew_rate", ())),
            low_pass_hz=data.get("low_pass_hz"),
            observes_last_command=data.get("observes_last_command", False),
            command_is_actuator=data.get("command_is_actuator", True),
            notes=tuple(data.get("notes", ())),
            robot=None if data.get("robot") is None else RobotDescription.from_dict(data["robot"]),
        )
        _check_spec(spec)
        return spec


def _check_spec(spec: TaskSpec) -> None:
    """Raise InputError if a recorded spec has values that no task can have."""
    numbers = [spec.control_dt, *spec.bounds.low, *spec.bounds.high, *spec.bounds.rest]
    numbers += [rate for rate in (*spec.slew_rate, spec.low_pass_hz) if rate is not None]
    counts = [spec.frame_skip, spec.action_repeat, spec.time_limit]
    edges = [0, *(field.stop for field in spec.observation)]
    if not all(isinstance(name, str) for name in (spec.id, *spec.bounds.names)):
        raise InputError("the task's id and the joints' names must be text")
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in numbers):
        raise InputError("the task's control_dt, bounds and rates must be finite numbers")
    if not spec.control_dt > 0.0 or not all(isinstance(value, int) and value >= 0 for value in counts):
        raise InputError(
            "the task's control_dt must be above 0, its frame_skip, action_repeat and time_limit whole"
        )
    if [field.start for field in spec.observation] != edges[:-1] or edges != sorted(set(edges)):
        raise InputError("the fields of the task's observation must follow each other without a gap")


def check_same_robot(policy: TaskSpec, task: TaskSpec) -> None:
    """Raise InputError unless file and task have the same observations, joints, bounds and control rate."""
    for name in ("observation", "bounds", "control_dt"):
        theirs, ours = getattr(policy, name), getattr(task, name)
        if theirs != ours:
            raise InputError(
                f"the task here differs from the one in the file in its {name}: {ours}, not {theirs}; "
                f"install the simulator versions that the file records, or export the policy again"
            )
    if policy.robot is not None and task.robot is not None:
        check_robot(policy.robot.to_dict(), task.robot.to_dict(), "the task here")
