"""The 200 incidents of the drill: what goes wrong in which ticks, and how the drive must end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

FOREVER = 100_000
STEPS = 90
"""Ticks after which the time is over."""
SAFETY = {"ramp_in": 0.4, "hold": 1.2}
"""Options of the safety layer in every incident: 8 ticks of ramp-in at 0.05 s."""
STATES = {"idle": 2, "ramp_in": 5, "running": 40, "holding": 40, "ramp_out": 40, "stopped": 62}
"""Tick at which an incident happens in each state."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Event:
    """One thing that goes wrong, from tick `first` to tick `last`, as `controller --incident` reads it."""

    kind: str
    """lost, nan, frozen, repeated, jump, old, late, clock, broken, signal or disk."""
    first: int
    last: int
    number: float = 0.0
    """jump: added to each entry; old, late, clock: seconds; signal: its number."""


@dataclass(frozen=True)
class Incident:
    """A drive in which something goes wrong."""

    name: str
    robot: str
    """free: without slew limits; limited: with them."""
    events: tuple[Event, ...]
    cause: str
    """Cause that the log must tell; "killed": the log must be readable, and say that the drive still runs."""
    status: int
    """Exit status; negative: the signal that ended the process."""
    safety: dict[str, float] = field(default_factory=dict)


def incidents() -> list[Incident]:
    """Return the incidents, for a robot without slew limits and for one with them."""
    return [
        Incident(f"{robot}: {name}", robot, tuple(events), cause, status, {**SAFETY, **safety})
        for robot in ("free", "limited")
        for name, events, cause, status, safety in _for_each_robot()
    ]


Row = tuple[str, list[Event], str, int, dict[str, float]]


def _for_each_robot() -> Iterator[Row]:
    yield "nothing goes wrong", [], "end", 0, {}
    yield from _signals()
    yield from _full_disk_and_errors()
    yield from _observations()
    yield from _times()
    yield from _together()


def _until(state: str) -> list[Event]:
    """Return the events that lead to a state by the tick in `STATES`."""
    return {
        "idle": [Event("lost", 1, 4)],
        "holding": [Event("lost", 38, 41)],
        "ramp_out": [Event("signal", 39, 39, signal.SIGTERM)],
        "stopped": [Event("signal", 39, 39, signal.SIGTERM)],
    }.get(state, [])


def _signals() -> Iterator[Row]:
    for state, tick in STATES.items():
        before = _until(state)
        stopping = state in ("ramp_out", "stopped")
        for number in STOPS:
            cause = "second_stop" if state == "ramp_out" else "stop"
            status = 128 + (signal.SIGTERM if stopping else number)
            events = [*before, Event("signal", tick, tick, number)]
            yield f"{number.name} in {state}", events, cause, status, {}
        status = 128 + (signal.SIGTERM if stopping else signal.SIGQUIT)
        events = [*before, Event("signal", tick, tick, signal.SIGQUIT)]
        yield f"SIGQUIT in {state}", events, "emergency", status, {}
        events = [*before, Event("signal", tick, tick, signal.SIGKILL)]
        yield f"killed in {state}", events, "killed", -signal.SIGKILL, {}
    for number in STOPS:
        twice = [Event("signal", 40, 40, number), Event("signal", 42, 42, signal.SIGINT)]
        yield f"{number.name}, then SIGINT", twice, "second_stop", 128 + number, {}


def _full_disk_and_errors() -> Iterator[Row]:
    for state in ("ramp_in", "running", "holding", "ramp_out"):
        tick, before, stopping = STATES[state], _until(state), state == "ramp_out"
        cause, status = ("stop", 128 + signal.SIGTERM) if stopping else ("error", 1)
        yield f"full disk in {state}", [*before, Event("disk", tick, FOREVER)], cause, status, {}
        yield f"broken bus in {state}", [*before, Event("broken", tick, FOREVER)], cause, status, {}


def _observations() -> Iterator[Row]:
    for state in ("ramp_in", "running"):
        first = STATES[state]
        for count, cause in ((1, "end"), (3, "end"), (4, "end"), (8, "age"), (FOREVER, "age")):
            yield _lasting("lost", state, first, count, cause)
        for count, cause in ((2, "end"), (10, "age")):
            yield _lasting("repeated", state, first, count, cause)
        for count, cause in ((1, "end"), (4, "end"), (5, "nan"), (20, "nan")):
            yield _lasting("nan", state, first, count, cause)
    every_third = [Event("lost", tick, tick) for tick in range(12, 80, 3)]
    yield "every third one lost", every_third, "end", 0, {}
    for count, limit, cause in ((10, 20, "end"), (25, 20, "frozen"), (30, 0, "end")):
        name, *rest = _lasting("frozen", "running", 40, count, cause)
        yield f"{name}, limit {limit}", rest[0], rest[1], rest[2], {"frozen_ticks": limit}
    for number in (0.5, 10.0, 1e3, 1e6, 1e30):
        for count in (1, 10):
            name, *rest = _lasting("jump", "running", 40, count, "end", number)
            yield f"{name} by {number:g}", rest[0], rest[1], rest[2], {}
    for count, cause in ((3, "end"), (10, "far")):
        name, *rest = _lasting("jump", "running", 40, count, cause, 1e3)
        yield f"{name} by 1000, far_ticks 5", rest[0], rest[1], rest[2], {"far_ticks": 5}
    for seconds, count, cause in ((0.02, 20, "end"), (0.12, 3, "end"), (0.12, 20, "end"), (0.5, 20, "age")):
        name, *rest = _lasting("old", "running", 40, count, cause, seconds)
        yield f"{name} by {seconds:g} s", rest[0], rest[1], rest[2], {}


def _times() -> Iterator[Row]:
    for state in ("ramp_in", "running"):
        for seconds, count, cause in ((0.07, 1, "end"), (0.07, 12, "late"), (0.3, 1, "late")):
            name, *rest = _lasting("late", state, STATES[state], count, cause, seconds)
            yield f"{name} by {seconds:g} s", rest[0], rest[1], rest[2], {}
    for seconds in (0.06, 0.2, 1e6):
        name, *rest = _lasting("clock", "running", 40, 1, "clock", seconds)
        yield f"{name} back by {seconds:g} s", rest[0], rest[1], rest[2], {}


def _together() -> Iterator[Row]:
    """Several things at once."""
    stop = Event("signal", 40, 40, signal.SIGINT)
    yield "lost, then a jump", [Event("lost", 40, 42), Event("jump", 43, 45, 50.0)], "end", 0, {}
    yield "late and nan", [Event("late", 40, 44, 0.07), Event("nan", 42, 45)], "end", 0, {}
    yield "stop while nan", [Event("nan", 38, 60), stop], "stop", 130, {}
    yield "stop while late", [Event("late", 35, 60, 0.07), stop], "stop", 130, {}
    yield "bus breaks in the ramp of a stop", [stop, Event("broken", 42, FOREVER)], "stop", 130, {}
    yield "all lost in the ramp of a stop", [stop, Event("lost", 41, FOREVER)], "stop", 130, {}
    yield "full disk and stop", [stop, Event("disk", 40, FOREVER)], "stop", 130, {}


def _lasting(kind: str, state: str, first: int, count: int, cause: str, number: float = 0.0) -> Row:
    last = FOREVER if count == FOREVER else first + count - 1
    length = "for ever" if count == FOREVER else f"for {count}"
    return f"{kind} {length} in {state}", [Event(kind, first, last, number)], cause, int(cause != "end"), {}
