"""The limits of the safety layer (docs/driving.md): what they are, where they come from, and which are refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from acer_robot.deployment.limit_options import Options
from acer_robot.errors import InputError
from acer_robot.spec import TaskSpec, fallback_command, representable_limits

Floats = npt.NDArray[np.float64]

START_MARGIN = 0.05
"""Share of its range by which a joint may stand outside its bounds at the start, as one that sags at a bound does."""
SMALLEST_STD = 1e-6
"""Lower limit of the standard deviations in the far check: an entry that never changed in training has 0."""


class Limits:
    """Everything that a tick must know about robot and policy. It does not change.

    Raises:
        InputError: for a value that docs/driving.md refuses.
    """

    def __init__(
        self,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        rest: npt.ArrayLike,
        dt: float,
        slew_rate: npt.ArrayLike,
        mean: npt.ArrayLike = (),
        std: npt.ArrayLike = (),
        options: Options | None = None,
        names: tuple[str, ...] = (),
    ) -> None:
        self.low, self.high, self.rest = (np.array(value, np.float64) for value in (low, high, rest))
        self.slew_rate = np.array(slew_rate, np.float64)
        self.mean, self.std = np.array(mean, np.float64), np.array(std, np.float64)
        self.dt, self.options = float(dt), options or Options()
        options = self.options
        self.age_limit = 5.0 * self.dt if options.age_limit is None else float(options.age_limit)
        self.far_limit = math.inf if options.far_limit is None else float(options.far_limit)
        self._check(names)
        self.range = self.high - self.low
        self.slew_step = self.slew_rate * self.dt
        self.ramp_step = np.where(
            np.isfinite(self.slew_step), self.slew_step, options.ramp_rate * self.range * self.dt
        )
        self.start_margin = np.maximum(self.ramp_step, START_MARGIN * self.range)
        self.ramp_ticks = max(1, math.ceil(options.ramp_in / self.dt - 1e-9))

    def _check(self, names: tuple[str, ...]) -> None:
        options, width = self.options, self.low.size
        if width == 0 or not (
            self.low.shape == self.high.shape == self.rest.shape == self.slew_rate.shape == (width,)
        ):
            raise InputError("the safety limits need one low, high, rest and slew rate for each joint")
        if self.mean.shape != self.std.shape or (self.std < 0.0).any():
            raise InputError(
                "the safety limits need one mean and one std >= 0 for each entry of the observation"
            )
        _positive("control_dt", self.dt)
        for j, name in enumerate(names or tuple(str(j) for j in range(width))):
            low, high, rest, rate = self.low[j], self.high[j], self.rest[j], self.slew_rate[j]
            if not (np.isfinite([low, high]).all() and low <= high):
                raise InputError(
                    f"joint {name!r} has the bounds [{low:g}, {high:g}]; expected finite ones, low first"
                )
            if not low <= rest <= high:
                raise InputError(
                    f"rest of joint {name!r} is {rest:g}, outside its bounds [{low:g}, {high:g}]"
                )
            if not rate > 0.0:
                raise InputError(
                    f"the slew limit of joint {name!r} is {rate:g}; expected a number above 0, or none at all"
                )
        _positive("safety.ramp_rate", options.ramp_rate)
        for name in ("ramp_in", "hold", "start_limit"):
            _at_least(f"safety.{name}", getattr(options, name), 0.0)
        _at_least("safety.late_factor", options.late_factor, 1.0)
        _at_least("safety.age_limit", self.age_limit, self.dt)
        if not self.far_limit >= 0.0:
            raise InputError(f"safety.far_limit={self.far_limit}; expected a number of at least 0")
        for name in ("late_ticks", "nan_ticks", "frozen_ticks", "far_ticks"):
            count = getattr(options, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise InputError(f"safety.{name}={count}; expected a whole number of at least 0")

    @property
    def width(self) -> int:
        """Number of joints."""
        return int(self.low.size)

    def to_dict(self) -> dict[str, Any]:
        """Return the limits in the order of docs/driving.md."""
        options = self.options
        return {
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "rest": self.rest.tolist(),
            "dt": self.dt,
            "slew_rate": self.slew_rate.tolist(),
            "ramp_rate": options.ramp_rate,
            "ramp_in": options.ramp_in,
            "hold": options.hold,
            "start_limit": options.start_limit,
            "age_limit": self.age_limit,
            "late_factor": options.late_factor,
            "late_ticks": options.late_ticks,
            "nan_ticks": options.nan_ticks,
            "frozen_ticks": options.frozen_ticks,
            "far_limit": self.far_limit,
            "far_ticks": options.far_ticks,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }


def limits_of_file(spec: TaskSpec, metadata: Mapping[str, Any], options: Options | None = None) -> Limits:
    """Return the limits for an exported file: its bounds, rest, control period, slew limits and normaliser.

    Raises:
        InputError: if a limit cannot be used.
    """
    low, high = representable_limits(np.asarray(spec.bounds.low), np.asarray(spec.bounds.high), np.float32)
    rates = [math.inf if rate is None else rate for rate in spec.slew_rate or (None,) * spec.action_size]
    normalizer, width = metadata["normalizer"], spec.observation_size
    options = options or Options()
    mean: list[float] = []
    std: list[float] = []
    if normalizer["enabled"]:
        mean, std = normalizer["mean"][:width], [max(x, SMALLEST_STD) for x in normalizer["std"][:width]]
        if options.far_limit is None:
            options = dataclasses.replace(options, far_limit=float(normalizer["limit"]))
    rest = _rest(spec, metadata.get("rest"))
    return Limits(low, high, rest, spec.control_dt, rates, mean, std, options, spec.bounds.names)


def _rest(spec: TaskSpec, recorded: Any) -> Floats:  # noqa: ANN401 - whatever policy.json holds
    """Return where a safe stop ends; files that do not record it stop at the fallback command."""
    if recorded is None:
        return fallback_command(spec.bounds)
    numbers = isinstance(recorded, list) and all(type(value) in (int, float) for value in recorded)
    if not numbers or len(recorded) != spec.action_size:
        raise InputError(
            f"rest in policy.json is {recorded!r}; expected one number for each of {spec.action_size} joints; "
            f"export the run again"
        )
    return np.array(recorded, np.float64)


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(f"{name}={value}; expected a number above 0")


def _at_least(name: str, value: float, lowest: float) -> None:
    if not (math.isfinite(value) and value >= lowest):
        raise InputError(f"{name}={value}; expected a number of at least {lowest:g}")
