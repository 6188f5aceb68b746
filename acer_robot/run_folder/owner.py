"""One run folder has one owner: the process that trains in it."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acer_robot.errors import InputError

LOCK = ".lock"
"""File in the run folder. The system lets go of the lock when its process ends, so that none is ever left over."""


@contextmanager
def owned(run_dir: Path) -> Iterator[None]:
    """Be the folder's owner in the block.

    Raises:
        InputError: naming the process that trains in it, if there is one.
    """
    with (run_dir / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = " ".join(file.read(200).split()) or "another process"
            raise InputError(
                f"{run_dir} is in use by {owner}, which trains in it; wait for its end, or give another folder"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def is_owned(run_dir: Path) -> bool:
    """Whether a process trains in the folder now."""
    try:
        with (run_dir / LOCK).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False
