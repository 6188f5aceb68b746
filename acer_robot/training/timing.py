"""When logs and evaluations are due, and seconds of learning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Every:
    """True once for each multiple of `interval` that is reached or passed."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._next = interval

    def __call__(self, step: int) -> bool:
        """Return whether a multiple was reached since the last call that returned True."""
        if step < self._next:
            return False
        self._next = (step // self._interval + 1) * self._interval
        return True

    def state(self) -> dict[str, Any]:
        """Return the interval and the next multiple."""
        return {"interval": self._interval, "next": self._next}

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Go on where `state` was called, at `step`; the interval may be another one."""
        same = state["interval"] == self._interval
        self._next = state["next"] if same else (step // self._interval + 1) * self._interval


class Stopwatch:
    """Seconds of learning: the wall clock, or another, without what happens inside `paused()`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()
        self._paused = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since construction, pauses left out."""
        return self._clock() - self._start - self._paused

    def state(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the seconds of `state`."""
        self._start, self._paused = self._clock() - state["seconds"], 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside."""
        start = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - start
