"""A thread that names an environment which does not come back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from acer_robot.tasks import INSIDE


@contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """Print a line, once for each step, when an environment of this process takes longer than `seconds` for it."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(seconds, over), daemon=True, name="watchdog")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(seconds: float, over: threading.Event) -> None:
    entries, since, is_told = -1, time.monotonic(), False
    while not over.wait(min(1.0, seconds / 4.0)):
        environment, now = INSIDE.environment, time.monotonic()
        if environment is None or INSIDE.entries != entries:
            entries, since, is_told = INSIDE.entries, now, False
        elif now - since > seconds and not is_told:
            is_told = True
            print(
                f"{environment} has not come back for {seconds:g} s (step_timeout); task.workers=1 would end it",
                file=sys.stderr,
                flush=True,
            )
