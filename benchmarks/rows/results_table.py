"""A CSV of finished runs that several processes and machines append to: one row a run, none ever rewritten."""

from __future__ import annotations

import csv
import fcntl
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COLUMNS = (
    "date", "task", "learner", "overrides", "seed", "steps", "status", "curve", "load",
    "command", "revision", "versions", "machine",
)  # fmt: skip
KEY = ("task", "learner", "overrides", "seed", "steps")
"""The columns that say which run a row is of."""

Row = dict[str, str]
Key = tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One evaluation: environment step, seconds of learning until then, mean return."""

    step: int
    seconds: float
    value: float


def encode_curve(points: Iterable[Point]) -> str:
    """Return "step:seconds:return;..."."""
    return ";".join(f"{point.step}:{point.seconds:.1f}:{point.value:.6g}" for point in points)


def decode_curve(text: str) -> list[Point]:
    """Return the points of a row's curve."""
    fields = (point.split(":") for point in text.split(";") if point)
    return [Point(int(step), float(seconds), float(value)) for step, seconds, value in fields]


def key_of(row: Row) -> Key:
    """Return which run `row` is of."""
    return tuple(row[name] for name in KEY)


def has_run(rows: Iterable[Row], key: Key) -> bool:
    """Return whether a row is of that run, or of the same one to more steps, whose curve begins with it."""
    return any(key_of(row)[:-1] == key[:-1] and int(row["steps"]) >= int(key[-1]) for row in rows)


def read_rows(path: Path) -> list[Row]:
    """Return the rows, without those of a run that an earlier row is of; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        rows = list(csv.DictReader(file))
    first: dict[Key, Row] = {}
    for row in rows:
        first.setdefault(key_of(row), row)
    return list(first.values())


def append_row(path: Path, row: Row) -> None:
    """Append `row` under a lock of the file, whose header is written first where it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        present = file.read()
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        if not present:
            writer.writeheader()
        elif not present.endswith("\n"):
            text.write("\n")
        writer.writerow(row)
        file.write(text.getvalue())


def take_claim(path: Path) -> IO[str] | None:
    """Return the claim file, locked, or None while another process has it.

    The lock belongs to the open file, which a subprocess that writes its output there shares: the claim ends
    with the last of both, however they end, so that none is ever stale.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    return file
