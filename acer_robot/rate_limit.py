"""Limits of how fast commands change. The task in training and the exported policy use the same equation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.schema import check_range
from acer_robot.spec import FloatArray, TaskSpec, fallback_command, representable_limits, to_canonical

SLOWEST, FASTEST = 1e-9, 1e12
"""Slew rates that float32 commands can follow, in the command's units per second."""


def slew_rates(names: Sequence[str], limits: Mapping[str, Any] | Any) -> tuple[float | None, ...]:  # noqa: ANN401
    """Return the limit of each joint in the command's units per second. None: no limit; (): no joint has a limit.

    Args:
        names: joint names, in actuator order.
        limits: one number for all joints, or `{joint name: number}`.

    Raises:
        InputError: for an unknown joint, or a limit that is not a number from SLOWEST to FASTEST.
    """
    if not isinstance(limits, Mapping):
        _check_rate("task.slew_rate", limits)
        return (float(limits),) * len(names)
    for name, limit in limits.items():
        if name not in names:
            raise InputError(f"task.slew_rate names joint {name!r}; this task has {', '.join(names)}")
        _check_rate(f"task.slew_rate of joint {name!r}", limit)
    return tuple(float(limits[name]) if name in limits else None for name in names) if limits else ()


def _check_rate(name: str, limit: Any) -> None:  # noqa: ANN401 - whatever a user wrote
    """Raise InputError unless `limit` is a number from SLOWEST to FASTEST."""
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not SLOWEST <= limit <= FASTEST:
        raise InputError(
            f"{name} is {limit!r}; expected a positive number from {SLOWEST:g} to {FASTEST:g}, "
            "in the command's units per second"
        )


def check_low_pass(frequency: float | None) -> None:
    """Raise InputError unless the cut-off frequency is None or between 0.001 Hz and 1 MHz."""
    if frequency is not None:
        check_range("task.low_pass_hz", frequency, 1e-3, 1e6)


def largest_steps(spec: TaskSpec) -> npt.NDArray[np.float64]:
    """Return the largest change of each command [d] in one control step; inf: no limit."""
    rates = spec.slew_rate or (None,) * spec.action_size
    return np.array([math.inf if rate is None else rate * spec.control_dt for rate in rates])


def is_limited(slew_rate: Sequence[float | None], low_pass_hz: float | None) -> bool:
    """Return whether there is a slew rate or a low-pass."""
    return bool(slew_rate) or low_pass_hz is not None


def smoothing(spec: TaskSpec) -> float:
    """Return the weight alpha = 1 - exp(-2 pi f dt) of a new command in the low-pass; 1 without a low-pass."""
    if spec.low_pass_hz is None:
        return 1.0
    return -math.expm1(-2.0 * math.pi * spec.low_pass_hz * spec.control_dt)


class CommandFilter:
    """Low-pass and slew-rate limit of commands [B, d]. Every episode starts from the command at rest.

    `y_t = clip(y_{t-1} + alpha (u_t - y_{t-1}), y_{t-1} - s dt, y_{t-1} + s dt)`, with y_0 the command at rest
    (`fallback_command` of the bounds), u the policy's command and s the slew rate. y_t lies between y_{t-1} and u_t,
    so it is within the bounds.
    """

    def __init__(self, spec: TaskSpec, num_envs: int) -> None:
        self._rest = np.tile(fallback_command(spec.bounds), (num_envs, 1))
        self._previous = self._rest.copy()
        self._steps, self._alpha = largest_steps(spec), smoothing(spec)
        low, high = np.asarray(spec.bounds.low), np.asarray(spec.bounds.high)
        self._low, self._high = representable_limits(low, high, np.float32)

    @property
    def last(self) -> npt.NDArray[np.float64]:
        """The last commands as canonical actions [B, d]. Before the first command it is the command at rest."""
        return to_canonical(self._previous, self._low, self._high)

    def reset(self, rows: npt.NDArray[np.bool_] | None = None) -> None:
        """Start new episodes in the environments where `rows` [B] is true, or in all."""
        if rows is None:
            self._previous = self._rest.copy()
        else:
            self._previous[rows] = self._rest[rows]

    def state(self) -> dict[str, Any]:
        """Return the last commands."""
        return {"previous": self._previous.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was called."""
        self._previous = np.array(state["previous"], dtype=np.float64).reshape(self._rest.shape)

    def __call__(self, commands: FloatArray) -> npt.NDArray[np.float64]:
        """Clip commands [B, d] to the float32 bounds, filter them, and return what the actuators get."""
        previous = self._previous
        target = np.clip(np.asarray(commands, dtype=np.float64), self._low, self._high)
        if self._alpha < 1.0:
            target = previous + self._alpha * (target - previous)
        self._previous = np.clip(target, previous - self._steps, previous + self._steps)
        return self._previous.copy()
