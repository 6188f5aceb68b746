"""Keeping a control loop on time, and telling how well that went."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


class Pacer:
    """Waits for the instants, one `period` in seconds apart, at which commands are due; 0: never waits.

    A deadline is missed where the loop comes back only after the next instant. The instants that follow count
    from there, so that one long stall is one miss and no burst of commands makes up for it.
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
        """Seconds by which each command came after its instant: the jitter."""

    def restart(self) -> None:
        """Let the next instant be now, as at the start of an episode."""
        self._due = None

    def wait(self) -> None:
        """Return when the next command is due."""
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
    """Return median, 99th percentile and maximum in microseconds; None of nothing."""
    if not seconds:
        return None
    values = 1e6 * np.asarray(seconds)
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(values.max()), 1)}


@contextmanager
def stop_key(key: str = "q") -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether `key` was pressed; never, where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield lambda: False
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    settings: list[Any] = termios.tcgetattr(terminal)

    def pressed() -> bool:
        ready, _, _ = select.select([terminal], [], [], 0.0)
        return bool(ready) and os.read(terminal, 1) == key.encode()

    try:
        tty.setcbreak(terminal)  # keys arrive without Enter; Ctrl-C still interrupts
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, settings)
