"""Signals that ask a process to end (Ctrl-C, SIGTERM, ..): obeyed between two steps, or at once."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NOTICE = b"\ninterrupted: stopping after this step; a second signal, or Ctrl-C again, stops at once\n"

_UNFINISHED = b"the step does not end: the process ends without it; the last checkpoint counts\n"
_AGAIN = b"\na second signal: the process ends at once; the last checkpoint counts\n"

_TERMINATE = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals by which a system asks a process to end; SLURM and submitit send the last two before they kill it."""

ECHO_SECONDS = 0.1
"""Signals that come so soon after the first count as the same: a terminal that closes, or systemd, sends several."""

GRACE_SECONDS = 8.0
"""How long a step may go on after a signal. Then the process ends without finishing it, as while it compiles."""


class Signalled(KeyboardInterrupt):
    """A signal asked the process to end; the text is the signal's name."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
        """Exit status of the process, as a shell counts it."""


class Interrupted(Signalled):
    """A signal asked the process to end, and this was raised between two steps: nothing is half done."""


def exit_status(error: BaseException | None) -> int:
    """Return the status with which a process ends: 0 without an error, 128 + signal, or 1 after any other error."""
    if error is None:
        return 0
    if isinstance(error, Signalled):
        return error.status
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Raise Signalled in the block when one of _TERMINATE arrives, so that it can tidy up as after Ctrl-C.

    A second one ends the process at once. Signals that somebody else handles or ignores, and other threads than the
    main one, are left alone.
    """
    ours = [number for number in _TERMINATE if _is_main() and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end_now)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Give a function that raises Interrupted if Ctrl-C was pressed, or SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2 arrived.

    After one of them, Ctrl-C raises KeyboardInterrupt at once. Another of the others ends the process at once, with
    128 + its number: nothing is saved any more, and the files of the last checkpoint are whole.

    Raised at any moment, it would now and then come to nothing, since torch.compile's guards discard what is raised
    inside them, and it could leave an update half done. Where a signal is ignored, as Ctrl-C in a shell's background
    jobs and SIGHUP under nohup, or somebody else handles it, or in another thread than the main one, nothing changes.

    A step that goes on for GRACE_SECONDS after the signal is not waited for: the process then ends with the signal's
    status, and the last checkpoint counts.

    Raises:
        Interrupted: at the end of the block, if a signal arrived and the function was not called since.
    """
    noted: list[int] = []
    timers: list[threading.Timer] = []
    pending: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_TERMINATE) if _is_main()}
    before = {number: handler for number, handler in before.items() if _is_ours(number, handler)}

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)
        pending.append(number)
        again = _second()
        for other in before:
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else again)
        _leave_closed_terminal()
        timers.append(threading.Timer(GRACE_SECONDS, _end_process, (number,)))
        timers[-1].daemon = True
        timers[-1].start()
        with suppress(OSError):  # stderr may be closed
            os.write(2, _NOTICE)  # print is not safe in a signal handler

    def check() -> None:
        if pending:
            timers[-1].cancel()
            raise Interrupted(pending.pop())

    for number in before:
        signal.signal(number, note)
    try:
        yield check
        check()
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            if noted and handler is _end_now:
                continue  # the process ends already: a second signal does not wait for that
            signal.signal(number, handler)


def _second() -> Callable[[int, FrameType | None], None]:
    """Return a handler that ends the process at once, unless the signal is an echo of the one that came just now."""
    first = time.monotonic()

    def end(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - first < ECHO_SECONDS:
            return
        with suppress(OSError):
            os.write(2, _AGAIN)
        os._exit(128 + number)

    return end


def _end_process(number: int) -> None:
    """End the process at once, from another thread than the main one, which does not come to its next step."""
    with suppress(OSError):
        os.write(2, _UNFINISHED)
    os._exit(128 + number)


def _is_main() -> bool:
    """Whether this is the main thread, the only one that can set handlers."""
    return threading.current_thread() is threading.main_thread()


def _is_ours(number: int, handler: object) -> bool:
    """Whether a signal would end the process, or is handled here already."""
    if number == signal.SIGINT:
        return handler is signal.default_int_handler
    return handler is signal.SIG_DFL or handler is _end_now


def _end_now(number: int, _frame: FrameType | None) -> None:
    """Raise Signalled; a second signal ends the process at once."""
    again = _second()
    for other in _TERMINATE:
        if signal.getsignal(other) is _end_now:
            signal.signal(other, again)
    _leave_closed_terminal()
    raise Signalled(number)


def _leave_closed_terminal() -> None:
    """Point stdout and stderr to nowhere if their terminal was closed: printing there would be an error."""
    for number in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
