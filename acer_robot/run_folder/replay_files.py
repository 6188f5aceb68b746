"""The replay on disk: checkpoints/replay/ holds files of rows, which are written once and never changed.

A checkpoint lists the files that make up its replay, with their checksums. The next checkpoint adds files of the rows
that came since, and of the newest row before them. It writes no other row twice, and the files of former checkpoints
stay whole.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.experience.replay import Replay
from acer_robot.run_folder.whole_file import write_whole

FOLDER = Path("checkpoints") / "replay"
FILE_BYTES = 2**26
"""Size that a file does not exceed, unless a single row does."""
COPIED = 4
"""Files whose rows are copied at most, and written beside training."""


class DamagedReplayError(InputError):
    """A file of the replay is missing, or is not what its checksum says."""


Files = list[dict[str, Any]]
"""Name, number of the first row, number of rows, shape of a row and sha256 of each file, in the order of time."""


@dataclass(frozen=True)
class NewRows:
    """What a checkpoint adds to the files of the one before: copies, so that training can go on."""

    kept: Files
    """Files of the checkpoint before that are still needed, and those that were written at once."""
    parts: list[tuple[int, Tensor]]
    """Number of the first row, and rows, of each file that is still to be written."""


def new_rows(run_dir: Path, replay: Replay, files: Files) -> NewRows:
    """Return the rows that `files` lack. Of very many, the first are written at once, so that few copies are in memory.

    The newest row of `files` comes again, since it may have become the end of an episode since.

    Raises:
        OSError: naming the file, if one cannot be written.
    """
    kept = [file for file in files if file["first"] + file["rows"] > replay.oldest]
    first = max(replay.oldest, kept[-1]["first"] + kept[-1]["rows"] - 1 if kept else 0)
    parts: deque[tuple[int, Tensor]] = deque()
    for part in replay.rows(first, max(1, FILE_BYTES // replay.row_bytes)):
        parts.append((first, part.cpu()))
        first += len(part)
        if len(parts) > COPIED:
            kept.append(_write_part(run_dir, *parts.popleft()))
    return NewRows(kept, list(parts))


def write_rows(run_dir: Path, rows: NewRows) -> Files:
    """Write new rows; return the files that now make up the replay.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    return [*rows.kept, *(_write_part(run_dir, first, part) for first, part in rows.parts)]


def _write_part(run_dir: Path, first: int, rows: Tensor) -> dict[str, Any]:
    """Write one file. Its name tells its content, so that it never replaces another one that a checkpoint needs."""
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    data = rows.numpy().data.cast("B")
    digest = hashlib.sha256(data).hexdigest()
    name = f"{first:012d}-{first + len(rows):012d}-{digest[:8]}.rows"
    write_whole(folder / name, data)
    return {"name": name, "first": first, "rows": len(rows), "row": list(rows.shape[1:]), "sha256": digest}


def remove_rows(run_dir: Path, before: int) -> None:
    """Remove the files whose rows all have numbers below `before`, and what a crash left half-written."""
    for path in (run_dir / FOLDER).glob("*"):
        last = path.stem.partition("-")[2].partition("-")[0]  # of FIRST-LAST-HASH; older runs have no hash
        if path.suffix == ".tmp" or (path.suffix == ".rows" and last.isdigit() and int(last) <= before):
            path.unlink(missing_ok=True)


def read_rows(run_dir: Path, files: Files, oldest: int) -> Iterator[Tensor]:
    """Yield the rows of a checkpoint from number `oldest` on, file by file.

    Raises:
        DamagedReplayError: naming the file, if one is missing or is not what its checksum says.
    """
    for file, following in zip(files, [*files[1:], None], strict=True):
        if Path(file["name"]).name != file["name"]:
            raise DamagedReplayError(
                f"{run_dir}: the replay's file {file['name']!r} is outside of its folder"
            )
        path = run_dir / FOLDER / file["name"]
        try:
            data = bytearray(path.read_bytes())
        except OSError as error:
            raise DamagedReplayError(f"{path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise DamagedReplayError(f"{path} is damaged: its content is not what its sha256 says")
        rows = torch.frombuffer(data, dtype=torch.float32).view(file["rows"], *file["row"])
        last = file["rows"] if following is None else following["first"] - file["first"]
        yield rows[max(0, oldest - file["first"]) : last]


def is_freed(run_dir: Path) -> bool:
    """Whether somebody removed the whole replay, so that none of its files is there."""
    return not any((run_dir / FOLDER).glob("*.rows"))
