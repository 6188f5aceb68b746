"""What every command's process needs: open standard streams, and one line after a signal or on a full disk."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from acer_robot.interrupt import end_on_signals, exit_status


@contextmanager
def command_process() -> Iterator[None]:
    """Open closed standard streams. End with one line after Ctrl-C, another signal or on a full disk.

    A command whose stdout nobody reads any more ends without a line.

    Raises:
        SystemExit: with 128 + the number of the signal (SIGPIPE: nobody reads), or with 1 if the disk is full.
    """
    open_closed_streams()
    with end_on_signals():
        try:
            yield
            sys.stdout.flush()
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise SystemExit(exit_status(error)) from None
        except OSError as error:
            if isinstance(error, BrokenPipeError) and reader_is_gone():
                raise SystemExit(128 + signal.SIGPIPE) from None
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            where = f"{error.filename} cannot be written" if error.filename else "a file cannot be written"
            print(f"acer-robot: error: the disk is full: {where}; make room", file=sys.stderr)
            raise SystemExit(1) from None


def reader_is_gone() -> bool:
    """Whether nobody reads stdout any more, as in `acer-train --help | head`. Then nothing more is written there."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # a stand-in for stdout, as in a notebook
        return False
    watched = select.poll()
    watched.register(output, 0)
    if not any(event & select.POLLERR for _, event in watched.poll(0)):
        return False
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), output)
    return True


def open_closed_streams() -> None:
    """Open /dev/null for each standard stream that is closed. Python has None for such a stream."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - it stays open until the process ends
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
