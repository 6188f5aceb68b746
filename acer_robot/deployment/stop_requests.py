"""Requests to stop a drive: signals and keys, counted, so that a loop can answer them between two ticks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from acer_robot.interrupt import Signalled

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
"""Ctrl-Z (SIGTSTP) is one of them: a process that sleeps would leave the robot with its last command."""
EMERGENCY_SIGNAL = signal.SIGQUIT
TERMINAL_SIGNALS = (signal.SIGTTIN, signal.SIGTTOU)
"""With these the system puts a process in the background to sleep when it touches the terminal."""
STOP_KEY, EMERGENCY_KEY = "q", "e"


class BrokenOff(Signalled):
    """A second emergency broke off a call of the plant that did not return."""


class StopRequests:
    """What was requested since the start."""

    def __init__(self) -> None:
        self.key: Callable[[], str] = lambda: ""
        """Returns a key that was pressed, or ""."""
        self.stops = 0
        """Stop requests: the first one ramps to rest, the second one holds at once."""
        self.emergency = False
        """Whether to close the robot at once, without a ramp."""
        self.signal: int | None = None
        """The first signal that arrived; None: no signal did."""
        self.handled: tuple[int, ...] = ()
        """The signals that this object is told of."""
        self.is_closing = False
        """Whether the plant is being closed, which nothing breaks off, or was told to by breaking off another call."""

    def stop(self) -> None:
        """Ask for a stop."""
        self.stops += 1

    def emergency_stop(self) -> None:
        """Ask for an emergency stop."""
        self.emergency = True

    def read_key(self) -> None:
        """Take a key that was pressed, with Caps Lock or without."""
        key = self.key().lower()
        self.stops += key == STOP_KEY
        self.emergency |= key == EMERGENCY_KEY

    def take_signals(self) -> None:
        """Take the signals back from a library that installed handlers of its own."""
        for number in self.handled:
            signal.signal(number, signal.SIG_IGN if number in TERMINAL_SIGNALS else self.on_signal)

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal. Nothing is raised, since the loop asks, unless it did not answer the emergency before.

        Raises:
            BrokenOff: once, out of a call of the plant that blocks.
        """
        self.signal = number if self.signal is None else self.signal
        if number == EMERGENCY_SIGNAL:
            breaks_off = self.emergency and not self.is_closing
            self.emergency_stop()
            if breaks_off:
                self.is_closing = True
                raise BrokenOff(number)
        else:
            self.stop()


@contextmanager
def counted_signals(requests: StopRequests) -> Iterator[None]:
    """Count signals in `requests` within the block. A signal that is ignored stays ignored, as under nohup.

    The terminal does not stop the process either, should it be put into the background. Only the main thread can do
    this. In another thread nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        handled = (*STOP_SIGNALS, EMERGENCY_SIGNAL, *TERMINAL_SIGNALS)
        before = {number: signal.getsignal(number) for number in handled}
        before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    requests.handled = tuple(before)
    requests.take_signals()
    try:
        yield
    finally:
        requests.handled = ()
        for number, old in before.items():
            signal.signal(number, old)
