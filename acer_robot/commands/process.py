"""How the process of a command ends: an interrupt is one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from acer_robot.interrupt import end_on_signals, exit_status


@contextmanager
def command_process() -> Iterator[None]:
    """End the process in one line after Ctrl-C, SIGTERM or SIGHUP in the block.

    Raises:
        SystemExit: with 128 + the number of the signal.
    """
    with end_on_signals():
        try:
            yield
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise SystemExit(exit_status(error)) from None
