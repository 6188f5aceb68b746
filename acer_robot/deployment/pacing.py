"""The timing of a control loop: it waits for deadlines and counts those that it missed."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np


class Pacer:
    """Waits until the next command is due, once every `period` seconds. A period of 0 never waits.

    The loop misses a deadline if it calls `wait` after the command was due. The next period then starts at that call.
    So one long stall counts as one miss, and no burst of commands follows it.
    """

    def __init__(
        self,
        period: float,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period, self._now, self._sleep = period, now, sleep
        self._due: float | None = None
        self.misses = 0
        self.lateness: list[float] = []
        """The jitter: seconds between the time when each command was due and the time when it came."""

    def restart(self) -> None:
        """Make the next command due at the next call of `wait`. Call this at the start of an episode."""
        self._due = None

    def wait(self) -> None:
        """Block until the next command is due."""
        if self._period == 0.0:
            return
        start = self._now()
        if self._due is None:
            self._due = start
        missed = start > self._due
        if not missed:
            self._sleep(self._due - start)
        reached = self._now()
        self.lateness.append(reached - self._due)
        self.misses += missed
        self._due = (reached if missed else self._due) + self._period


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return median, 99th percentile and maximum in microseconds; None for an empty sequence."""
    if not seconds:
        return None
    values = 1e6 * np.asarray(seconds)
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(values.max()), 1)}


@contextmanager
def stop_key(key: str = "q") -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether `key` was pressed. It returns False if stdin is not a terminal."""
    with pressed_key() as pressed:
        yield lambda: pressed() == key


@contextmanager
def pressed_key() -> Iterator[Callable[[], str]]:
    """Yield a function that returns a key that was pressed, or "".

    It returns "" if stdin is not a terminal, in the background, where the system stops who touches the terminal, and
    once the terminal was closed.
    """
    if not sys.stdin.isatty() or _is_in_background(sys.stdin.fileno()):
        yield lambda: ""
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    settings: list[Any] = termios.tcgetattr(terminal)

    def pressed() -> str:
        with suppress(OSError):  # in the background, or the terminal was closed
            ready, _, _ = select.select([terminal], [], [], 0.0)
            return os.read(terminal, 1).decode(errors="replace") if ready else ""
        return ""

    try:
        tty.setcbreak(terminal)  # keys arrive without Enter; Ctrl-C still interrupts
        yield pressed
    finally:
        with suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)


def _is_in_background(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # it is another session's terminal, which stops nobody here
        return False
