"""Requests to stop a drive: signals and keys, counted, so that a loop can answer them between two ticks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EMERGENCY_SIGNAL = signal.SIGQUIT
STOP_KEY, EMERGENCY_KEY = "q", "e"


class StopRequests:
    """What was requested since the start."""

    def __init__(self, key: Callable[[], str] = lambda: "") -> None:
        self._key = key
        self.stops = 0
        """Stop requests: the first one ramps to rest, the second one holds at once."""
        self.emergency = False
        """Whether to close the robot at once, without a ramp."""
        self.signal: int | None = None
        """The first signal that arrived; None: no signal did."""

    def stop(self) -> None:
        """Ask for a stop."""
        self.stops += 1

    def emergency_stop(self) -> None:
        """Ask for an emergency stop."""
        self.emergency = True

    def read_key(self) -> None:
        """Take a key that was pressed."""
        key = self._key()
        self.stops += key == STOP_KEY
        self.emergency |= key == EMERGENCY_KEY

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal. Nothing is raised: the loop asks."""
        self.signal = number if self.signal is None else self.signal
        if number == EMERGENCY_SIGNAL:
            self.emergency_stop()
        else:
            self.stop()


@contextmanager
def counted_signals(requests: StopRequests) -> Iterator[None]:
    """Count signals in `requests` within the block. A signal that is ignored stays ignored, as under nohup.

    Only the main thread can do this. In another thread nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, EMERGENCY_SIGNAL)}
        before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, requests.on_signal)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
