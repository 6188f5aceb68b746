"""The log of a drive: it survives a killed process and a full disk, and its first line says why the drive ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.spec import TaskSpec

FIRST_LINE = 120
"""Characters of the first line. It is overwritten in place, which works on a full disk too."""
FLUSH_EVERY = 0.5
"""Seconds after which rows are written. A row waits for this time and for the next row: below 1 s in total."""


class DriveLog:
    """Writes one row for each tick, as docs/driving.md describes. Without a path it does nothing.

    Raises:
        InputError: if the file cannot be written, or is there: it is the log of another drive.
    """

    def __init__(self, path: str | None, spec: TaskSpec) -> None:
        self._path, self._rows, self._due, self._file = path, list[str](), 0.0, -1
        self._broken = self._has_rows = False
        self._widths = (spec.observation_size, spec.action_size, spec.action_size)
        if path is None:
            return
        names = [field.name for field in spec.observation for _ in range(field.start, field.stop)]
        names += [f"{kind}:{joint}" for kind in ("policy", "command") for joint in spec.bounds.names]
        head = (
            f"{_first_line('(still running)')}time,step,state,cause,late,age,{','.join(map(_cell, names))}\n"
        )
        try:
            self._file = _open(path)
            _write(self._file, head.encode())
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            self.discard()
            raise InputError(f"log={path} cannot be written: {error.strerror}; give another file") from error

    def add(
        self,
        time: float,
        step: int,
        words: Sequence[str],
        late: bool,
        age: float | None,
        arrays: Iterable[npt.NDArray[np.floating] | None],
    ) -> None:
        """Keep one row until the next flush.

        Args:
            time: seconds since the first tick.
            step: number of the tick.
            words: state and cause.
            late: whether the tick was late.
            age: age of the newest observation in seconds.
            arrays: observation, the policy's command, and the command after the limits; None: there is none.
        """
        if self._file < 0:
            return
        self._has_rows = True
        cells = [f"{time:.6f}", str(step), *words, str(int(late)), "" if age is None else f"{age:.6f}"]
        for values, width in zip(arrays, self._widths, strict=True):
            cells += [""] * width if values is None else [str(np.float32(value)) for value in values]
        self._rows.append(",".join(cells))

    def flush_if_due(self, now: float, at_once: bool) -> None:
        """Write the rows if half a second has passed, or at once.

        Raises:
            OSError: if they cannot be written; they are then lost.
        """
        if self._file >= 0 and (at_once or now >= self._due):
            self._due = now + FLUSH_EVERY
            self.flush()

    def flush(self) -> None:
        """Write the rows.

        Raises:
            OSError: if they cannot be written; they are then lost.
        """
        if self._file < 0 or not self._rows:
            return
        text = "\n" * self._broken + "\n".join(self._rows) + "\n"
        self._rows.clear()
        self._broken = True  # until all of it is written: the last row may be cut
        _write(self._file, text.encode())
        self._broken = False

    def discard(self) -> None:
        """Remove the file of a drive that did not begin, so that the next attempt has the name; rows are kept."""
        if self._file < 0 or self._path is None or self._has_rows:
            return
        self.close()
        if not is_special(self._path):
            os.unlink(self._path)

    def finish(self, reason: str) -> None:
        """Say in the first line why the drive ended, and close the file. Rows that cannot be written are lost."""
        if self._file < 0:
            return
        try:
            with suppress(OSError):  # the disk is full or gone, and the drive has said so already
                self.flush()
            with suppress(OSError):  # a pipe has no first line to overwrite
                os.pwrite(self._file, _first_line(reason).encode(), 0)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_special(path: str) -> bool:
    """Whether something is there that is no file, as a pipe or /dev/null."""
    return os.path.exists(path) and not os.path.isfile(path)


def check_new(path: str) -> None:
    """Raise InputError if a log is at `path`."""
    if os.path.lexists(path) and not is_special(path):
        raise _exists(path)


def _exists(path: str) -> InputError:
    return InputError(f"log={path} exists; give another file, or remove it")


def _open(path: str) -> int:
    """Create the file, or open what is there and no file."""
    new = 0 if is_special(path) else os.O_EXCL
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | new, 0o666)


def _first_line(reason: str) -> str:
    """Return the first line. It is ASCII, so that its length in bytes never changes."""
    plain = " ".join(reason.split()).encode("ascii", "replace").decode()
    return f"# stopped by: {plain}"[:FIRST_LINE].ljust(FIRST_LINE) + "\n"


def _cell(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def why_stopped(path: Path) -> str:
    """Return what the first line of a log says."""
    with path.open("rb") as file:
        return file.readline().decode("ascii", "replace").removeprefix("# stopped by: ").strip()
