"""Why a watchdog stopped a drive, in words."""

from __future__ import annotations

import numpy as np

from acer_robot.deployment.limits import Limits
from acer_robot.deployment.safety import Inputs, State, joints_outside


def watchdog_reason(limits: Limits, state: State, inputs: Inputs, names: tuple[str, ...]) -> str:
    """Return what the watchdog saw; "" for causes that somebody asked for, and for errors, which have their own words.

    Args:
        limits: the limits of the drive.
        state: the state after the tick that stopped it.
        inputs: what that tick was told.
        names: the joints.
    """
    words = {
        "clock": lambda: f"the clock stood still or went back: it says {inputs.now:.6f} s",
        "late": lambda: _late(limits, state),
        "age": lambda: _age(state, inputs),
        "nan": lambda: (
            f"{state.nan} observations in a row, or the policy's commands for them, were not finite"
        ),
        "frozen": lambda: f"{state.frozen + 1} observations in a row were equal",
        "far": lambda: f"{state.far} observations in a row were beyond the range that training saw",
        "outside": lambda: _outside(limits, inputs, names),
    }
    return words[state.cause]() if state.cause in words else ""


def _late(limits: Limits, state: State) -> str:
    """Tell which of the two limits of late ticks was reached."""
    if 0 < limits.options.late_ticks <= state.late:
        return f"{state.late} ticks in a row were late"
    return f"two ticks were more than safety.age_limit, {limits.age_limit:g} s, apart"


def _age(state: State, inputs: Inputs) -> str:
    """Tell the age of the newest observation, or what is wrong with the stamp that came."""
    newest, stamp, now = state.newest, inputs.stamp, inputs.now
    if stamp is not None and stamp > now:
        return f"the observation is from {stamp - now:.3g} s ahead; read() must return time.monotonic()"
    if newest is None:
        return ""
    if stamp is not None and stamp < newest:
        return f"the observation is {newest - stamp:.3g} s older than one before it"
    return f"the newest observation is {now - newest:.3g} s old"


def _outside(limits: Limits, inputs: Inputs, names: tuple[str, ...]) -> str:
    """Name the joint that stands farthest outside its bounds, relative to their width."""
    known = np.asarray(inputs.measured, np.float64)
    beyond = np.maximum(limits.low - known, known - limits.high) / np.where(
        limits.range > 0.0, limits.range, np.inf
    )
    j = int(np.where(joints_outside(limits, known), beyond, -np.inf).argmax())
    return (
        f"joint {names[j]!r} is at {known[j]:.6g}, outside its bounds [{limits.low[j]:g}, {limits.high[j]:g}], so that "
        f"the first command would be a jump; move it within them first"
    )
