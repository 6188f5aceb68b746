"""The replay on disk: checkpoints/replay/ holds files of rows, which are written once and never changed.

A checkpoint lists the files that make up its replay, with their checksums. The next checkpoint adds files of the rows
that came since, so that it writes no row twice, and the files of former checkpoints stay whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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


class DamagedReplayError(InputError):
    """A file of the replay is missing, or is not what its checksum says."""


Files = list[dict[str, Any]]
"""Name, number of the first row, number of rows, shape of a row and sha256 of each file, in the order of time."""


def write_rows(run_dir: Path, replay: Replay, files: Files) -> Files:
    """Write the rows that `files` lack; return the files that now make up the replay.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    kept = [file for file in files if file["first"] + file["rows"] > replay.oldest]
    first = max(replay.oldest, kept[-1]["first"] + kept[-1]["rows"] if kept else 0)
    for part in replay.rows(first, max(1, FILE_BYTES // replay.row_bytes)):
        data = part.cpu().numpy().data.cast("B")
        name = f"{first:012d}-{first + len(part):012d}.rows"
        write_whole(folder / name, data)
        digest = hashlib.sha256(data).hexdigest()
        kept.append(
            {"name": name, "first": first, "rows": len(part), "row": list(part.shape[1:]), "sha256": digest}
        )
        first += len(part)
    return kept


def remove_rows(run_dir: Path, before: int) -> None:
    """Remove the files whose rows all have numbers below `before`, and what a crash left half-written."""
    for path in (run_dir / FOLDER).glob("*"):
        last = path.stem.partition("-")[2]
        if path.suffix == ".tmp" or (path.suffix == ".rows" and last.isdigit() and int(last) <= before):
            path.unlink(missing_ok=True)


def read_rows(run_dir: Path, files: Files, oldest: int) -> Iterator[Tensor]:
    """Yield the rows of a checkpoint from number `oldest` on, file by file.

    Raises:
        DamagedReplayError: naming the file, if one is missing or is not what its checksum says.
    """
    for file in files:
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
        yield rows[max(0, oldest - file["first"]) :]


def is_freed(run_dir: Path) -> bool:
    """Whether somebody removed the whole replay, so that none of its files is there."""
    return not any((run_dir / FOLDER).glob("*.rows"))
