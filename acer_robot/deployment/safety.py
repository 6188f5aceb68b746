"""One tick of the safety layer, as a pure function: docs/driving.md is its specification.

The layer has no clock, reads nothing and writes nothing. `examples/controller` implements the same tick in C++, and
`situations.py` writes the vectors that hold both to each other.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acer_robot.deployment.limits import Floats, Limits

IDLE, RAMP_IN, RUNNING, HOLDING, RAMP_OUT, STOPPED = MODES = (
    "idle",
    "ramp_in",
    "running",
    "holding",
    "ramp_out",
    "stopped",
)
CAUSES = (
    "none",
    "stop",
    "second_stop",
    "emergency",
    "error",
    "clock",
    "late",
    "age",
    "nan",
    "frozen",
    "far",
    "outside",
    "end",
)


@dataclass(frozen=True)
class Inputs:
    """What one tick is told."""

    now: float
    """Time of the tick on the monotonic clock in seconds, read after the observation."""
    observation: npt.NDArray[np.float32] | None = None
    """[n] newest observation that the robot gave."""
    stamp: float | None = None
    """When it was measured, on the same clock."""
    policy: npt.NDArray[np.float32] | None = None
    """[m] the policy's command for this observation; None if the policy was not asked."""
    measured: npt.NDArray[np.floating] | None = None
    """[m] what the robot does now, in the command's units; used before the first command alone."""
    stops: int = 0
    """Stop requests since the start."""
    end: bool = False
    """Whether the time is over."""
    error: bool = False
    """Whether reading, the policy or the log failed."""
    emergency: bool = False
    """Whether to stop without a ramp."""


@dataclass(frozen=True)
class State:
    """What the layer remembers. `State()` is a new start."""

    mode: str = IDLE
    cause: str = "none"
    ramp_ticks: int = 0
    """Ramp-in ticks that are done."""
    last: Floats | None = None
    """The last command."""
    previous: float | None = None
    """Time of the last tick."""
    started: float | None = None
    """Time of the first tick."""
    newest: float | None = None
    """Newest stamp of an observation."""
    seen: npt.NDArray[np.float32] | None = None
    """The last new observation with finite entries."""
    late: int = 0
    nan: int = 0
    frozen: int = 0
    far: int = 0
    """Late ticks, unusable rows, equal and far observations in a row."""
    far_total: int = 0
    """Far observations since the start."""
    stopped_at: float | None = None
    """When it stopped."""


@dataclass(frozen=True)
class Output:
    """What one tick says."""

    state: State
    command: Floats | None
    """[m] within the bounds; None: write nothing."""
    done: bool = False
    """Whether the loop must close the robot now."""


def is_new(state: State, inputs: Inputs) -> bool:
    """Return whether the inputs bring an observation that is newer than all before: no repeat, no future stamp."""
    return (
        inputs.observation is not None
        and inputs.stamp is not None
        and math.isfinite(inputs.stamp)
        and inputs.stamp <= inputs.now
        and (state.newest is None or inputs.stamp > state.newest)
        and not _is_clock_bad(state, inputs.now)
    )


def tick(limits: Limits, state: State, inputs: Inputs) -> Output:
    """Return state and command after one control period."""
    clock_bad = _is_clock_bad(state, inputs.now)
    gap = None if clock_bad or state.previous is None else inputs.now - state.previous
    fresh = is_new(state, inputs)
    usable = fresh and _all_finite(inputs.observation) and _all_finite(inputs.policy)
    state = _counted(limits, state, inputs, gap, fresh, usable)
    if not clock_bad:
        started = inputs.now if state.started is None else state.started
        state = dataclasses.replace(state, previous=inputs.now, started=started)
    stopped_at = None if clock_bad else inputs.now

    if state.mode == STOPPED:
        return _stopped(limits, state, inputs, clock_bad)
    if inputs.emergency:
        state = dataclasses.replace(state, mode=STOPPED, cause="emergency", stopped_at=stopped_at)
        return Output(state, state.last, done=True)
    if inputs.stops >= 2:
        was_idle = state.mode == IDLE
        state = dataclasses.replace(state, mode=STOPPED, cause="second_stop", stopped_at=stopped_at)
        return Output(state, state.last, done=was_idle)
    if state.mode == RAMP_OUT:
        return _ramp_step(limits, state, stopped_at)
    cause = _cause(limits, state, inputs, clock_bad, gap)
    if cause != "none":
        if state.mode == IDLE:
            state = dataclasses.replace(state, mode=STOPPED, cause=cause, stopped_at=stopped_at)
            return Output(state, None, done=True)
        return _ramp_step(limits, dataclasses.replace(state, mode=RAMP_OUT, cause=cause), stopped_at)
    if usable and inputs.stamp is not None and inputs.now - inputs.stamp <= limits.age_limit:
        return _follow(limits, state, inputs)
    if state.mode == IDLE:
        return Output(state, None)
    return Output(dataclasses.replace(state, mode=HOLDING), state.last)


def _is_clock_bad(state: State, now: float) -> bool:
    return not math.isfinite(now) or (state.previous is not None and now <= state.previous)


def _all_finite(values: npt.NDArray[np.float32] | None) -> bool:
    return values is not None and bool(np.isfinite(values).all())


def _counted(
    limits: Limits, state: State, inputs: Inputs, gap: float | None, fresh: bool, usable: bool
) -> State:
    """Return the state with its counts of late ticks and of unusable, equal and far observations."""
    is_late = state.mode != IDLE and gap is not None and gap > limits.options.late_factor * limits.dt
    state = dataclasses.replace(state, late=state.late + 1 if is_late else 0)
    if not fresh:
        return state
    observation = inputs.observation
    state = dataclasses.replace(state, newest=inputs.stamp, nan=0 if usable else state.nan + 1)
    if observation is None or not _all_finite(observation):
        return state
    same = state.seen is not None and bool((state.seen == observation).all())
    state = dataclasses.replace(state, seen=observation.copy(), frozen=state.frozen + 1 if same else 0)
    if not limits.mean.size:
        return state
    is_far = bool(
        (np.abs(observation.astype(np.float64) - limits.mean) > limits.far_limit * limits.std).any()
    )
    return dataclasses.replace(state, far=state.far + 1 if is_far else 0, far_total=state.far_total + is_far)


def _stopped(limits: Limits, state: State, inputs: Inputs, clock_bad: bool) -> Output:
    if inputs.emergency:
        return Output(dataclasses.replace(state, cause="emergency"), state.last, done=True)
    done = clock_bad or state.stopped_at is None or inputs.now - state.stopped_at >= limits.options.hold
    return Output(state, state.last, done)


def _cause(limits: Limits, state: State, inputs: Inputs, clock_bad: bool, gap: float | None) -> str:
    """Return the first cause that stops, or "none"."""
    if inputs.stops >= 1:
        return "stop"
    if inputs.error:
        return "error"
    if clock_bad:
        return "clock"
    options, idle = limits.options, state.mode == IDLE
    if not idle:
        if (gap is not None and gap > limits.age_limit) or 0 < options.late_ticks <= state.late:
            return "late"
        if state.newest is not None and inputs.now - state.newest > limits.age_limit:
            return "age"
    elif state.started is not None and inputs.now - state.started > options.start_limit:
        return "age"
    counts = (
        ("nan", options.nan_ticks, state.nan),
        ("frozen", options.frozen_ticks, state.frozen),
        ("far", options.far_ticks, state.far),
    )
    for cause, limit, count in counts:
        if 0 < limit <= count:
            return cause
    if idle and any(joints_outside(limits, inputs.measured)):
        return "outside"
    return "end" if inputs.end else "none"


def joints_outside(limits: Limits, measured: npt.NDArray[np.floating] | None) -> list[bool]:
    """Return which joints stand so far outside their bounds that the first command would be a jump.

    A joint that cannot be measured, or whose bounds are one number, is none of them.
    """
    if measured is None:
        return [False] * limits.width
    known = np.asarray(measured, np.float64)
    beyond = np.maximum(limits.low - known, known - limits.high)
    outside = np.isfinite(known) & (limits.range > 0.0) & (beyond > limits.start_margin)
    return [bool(value) for value in outside]


def _follow(limits: Limits, state: State, inputs: Inputs) -> Output:
    """Follow the policy within the step of this tick."""
    last, done = state.last, state.ramp_ticks
    if state.mode == IDLE or last is None:
        last, done = _start(limits, inputs.measured), 0
    if done < limits.ramp_ticks:
        opening = np.maximum(limits.ramp_step, limits.range * done / limits.ramp_ticks)
    else:
        opening = np.full_like(limits.range, math.inf)
    step = np.where(np.isfinite(limits.slew_step), limits.slew_step, opening)
    target = np.clip(np.asarray(inputs.policy, np.float64), limits.low, limits.high)
    command = np.clip(np.clip(target, last - step, last + step), limits.low, limits.high)
    done = min(done + 1, limits.ramp_ticks)
    mode = RUNNING if done == limits.ramp_ticks else RAMP_IN
    return Output(dataclasses.replace(state, mode=mode, last=command, ramp_ticks=done), command)


def _start(limits: Limits, measured: npt.NDArray[np.floating] | None) -> Floats:
    """Return where the ramp-in starts: what the robot does now, or the command at rest."""
    if measured is None:
        return limits.rest
    known = np.asarray(measured, np.float64)
    return np.clip(np.where(np.isfinite(known), known, limits.rest), limits.low, limits.high)


def _ramp_step(limits: Limits, state: State, stopped_at: float | None) -> Output:
    """Move one ramp step towards rest; stop where every joint has reached it."""
    assert state.last is not None  # only idle has no command, and idle never ramps out
    step = np.clip(limits.rest, state.last - limits.ramp_step, state.last + limits.ramp_step)
    command = np.clip(step, limits.low, limits.high)
    if bool((command == limits.rest).all()):
        state = dataclasses.replace(state, mode=STOPPED, stopped_at=stopped_at)
    return Output(dataclasses.replace(state, last=command), command)
