"""Ctrl-C between two steps of training, rather than in the middle of one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NOTICE = b"\ninterrupted: stopping after this step; Ctrl-C again stops at once\n"


def exit_status(error: BaseException | None) -> int:
    """Return the status with which a process ends: 0 without an error, 130 after Ctrl-C, 1 after any other error."""
    if error is None:
        return 0
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Give a function that raises KeyboardInterrupt if Ctrl-C was pressed; pressed again, it is raised at once.

    Raised at any moment, it would now and then come to nothing, since torch.compile's guards discard what is raised
    inside them, and it could leave an update half done. Where Ctrl-C is ignored, as in a shell's background jobs, or
    somebody else handles it, or in another thread than the main one, nothing changes.

    Raises:
        KeyboardInterrupt: at the end of the block, if Ctrl-C was pressed and the function not called since.
    """
    pressed = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.write(2, _NOTICE)  # print is not safe in a signal handler

    def check() -> None:
        if pressed.is_set():
            pressed.clear()
            raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (ours and threading.current_thread() is threading.main_thread()):
        yield check
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
