"""What a run can do without: its replay, and the checkpoints before the newest one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from acer_robot.errors import InputError
from acer_robot.run_folder.checkpoints import former_checkpoints, read_checkpoint
from acer_robot.run_folder.replay_files import FOLDER


def disposable(run_dir: Path) -> list[Path]:
    """Return the files of a run's replay and its former checkpoints; none of them is a link.

    Raises:
        InputError: if it is no run folder, or its newest checkpoint is damaged, so that a former one is needed.
    """
    if not (run_dir / "config.yaml").is_file():
        raise InputError(f"free={run_dir} is no run folder: it has no config.yaml; give the folder of a run")
    read_checkpoint(run_dir)
    former = former_checkpoints(run_dir / "checkpoints/latest.pt")
    files = [*former, *(run_dir / FOLDER).glob("*.rows")]
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


def free(files: Iterable[Path]) -> None:
    """Remove files."""
    for file in files:
        file.unlink(missing_ok=True)
