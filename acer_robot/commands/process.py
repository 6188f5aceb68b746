"""What every command's process needs: open standard streams, and one line after a signal or on a full disk."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from acer_robot.interrupt import end_on_signals, exit_status


@contextmanager
def command_process() -> Iterator[None]:
    """Open closed standard streams. End with one line after Ctrl-C, another signal or on a full disk.

    Raises:
        SystemExit: with 128 + the number of the signal, or with 1 if the disk is full.
    """
    open_closed_streams()
    with end_on_signals():
        try:
            yield
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise SystemExit(exit_status(error)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            where = f"{error.filename} cannot be written" if error.filename else "a file cannot be written"
            print(f"acer-robot: error: the disk is full: {where}; make room", file=sys.stderr)
            raise SystemExit(1) from None


def open_closed_streams() -> None:
    """Open /dev/null for each standard stream that is closed. Python has None for such a stream."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - it stays open until the process ends
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
