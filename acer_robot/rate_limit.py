"""How fast commands may change: one filter, the same for the task in training and for the exported file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.schema import check_range
from acer_robot.spec import FloatArray, TaskSpec, fallback_command


def slew_rates(names: Sequence[str], limits: Mapping[str, float]) -> tuple[float | None, ...]:
    """Return the limit of each joint in actuator units per second; None: no limit; (): none for any joint.

    Raises:
        InputError: for an unknown joint, or a limit that is not a positive finite number.
    """
    for name, limit in limits.items():
        if name not in names:
            raise InputError(f"task.slew_rate names joint {name!r}; this task has {', '.join(names)}")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0.0 < limit < math.inf:
            raise InputError(
                f"task.slew_rate of joint {name!r} is {limit!r}; expected a positive number of actuator "
                f"units per second"
            )
    return tuple(float(limits[name]) if name in limits else None for name in names) if limits else ()


def check_low_pass(frequency: float | None) -> None:
    """Raise InputError unless the cut-off frequency is None or between 0.001 Hz and 1 MHz."""
    if frequency is not None:
        check_range("task.low_pass_hz", frequency, 1e-3, 1e6)


def largest_steps(spec: TaskSpec) -> npt.NDArray[np.float64]:
    """Return how far each command [d] may move in one control step; inf where that is not limited."""
    rates = spec.slew_rate or (None,) * spec.action_size
    return np.array([math.inf if rate is None else rate * spec.control_dt for rate in rates])


def smoothing(spec: TaskSpec) -> float:
    """Return the weight alpha = 1 - exp(-2 pi f dt) of a new command in the low-pass; 1 without one."""
    if spec.low_pass_hz is None:
        return 1.0
    return -math.expm1(-2.0 * math.pi * spec.low_pass_hz * spec.control_dt)


class CommandFilter:
    """Low-pass and slew-rate limit of commands [B, d]; every episode starts from the fallback command.

    `y_t = clip(y_{t-1} + alpha (u_t - y_{t-1}), y_{t-1} - s dt, y_{t-1} + s dt)`, with y_0 the fallback
    command, u the policy's command and s the slew rate. y_t lies between y_{t-1} and u_t: within the bounds.
    """

    def __init__(self, spec: TaskSpec, num_envs: int) -> None:
        self._rest = np.tile(fallback_command(spec.bounds), (num_envs, 1))
        self._previous = self._rest.copy()
        self._steps, self._alpha = largest_steps(spec), smoothing(spec)

    def reset(self, rows: npt.NDArray[np.bool_] | None = None) -> None:
        """Start new episodes in the environments where `rows` [B] is true, or in all."""
        if rows is None:
            self._previous = self._rest.copy()
        else:
            self._previous[rows] = self._rest[rows]

    def __call__(self, commands: FloatArray) -> npt.NDArray[np.float64]:
        """Return what the actuators get for commands [B, d] within bounds."""
        previous = self._previous
        target = np.asarray(commands, dtype=np.float64)
        if self._alpha < 1.0:
            target = previous + self._alpha * (target - previous)
        self._previous = np.clip(target, previous - self._steps, previous + self._steps)
        return self._previous.copy()
