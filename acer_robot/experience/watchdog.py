"""A thread that names an environment which does not come back."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from acer_robot.tasks import INSIDE


@contextmanager
def watchdog(seconds: float, *, ends_process: bool = False) -> Iterator[None]:
    """Print a line, once for each step, when an environment of this process takes longer than `seconds` for it.

    Args:
        seconds: what a step or a reset may take.
        ends_process: whether this process then ends at once, with status 1; it must not be the learner's.
    """
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(seconds, over, ends_process), daemon=True, name="watchdog")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(seconds: float, over: threading.Event, ends_process: bool) -> None:
    remedy = "its process ends" if ends_process else "task.workers=1 would end it"
    entries, since, is_told = -1, time.monotonic(), False
    while not over.wait(min(1.0, seconds / 4.0)):
        environment, now = INSIDE.environment, time.monotonic()
        if environment is None or INSIDE.entries != entries:
            entries, since, is_told = INSIDE.entries, now, False
        elif now - since > seconds and not is_told:
            is_told = True
            print(
                f"{environment} has not come back for {seconds:g} s (step_timeout); {remedy}",
                file=sys.stderr,
                flush=True,
            )
            if ends_process:
                os._exit(1)
