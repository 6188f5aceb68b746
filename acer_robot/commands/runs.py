"""`acer-runs`: a table of the runs below a folder; or repeat an incident, or free the disk of a run."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.errors import InputError


@dataclass
class RunsConfig:
    """Options of `acer-runs`."""

    folder: str = "runs"
    """A folder that holds run folders, at any depth."""
    free: str | None = None
    """Run folder whose replay and former checkpoints are removed, after a question. latest.pt and best.pt stay."""
    replay: str | None = None
    """Folder of an incident to repeat: RUN/incidents/0."""
    yes: bool = False
    """Whether free=RUN removes without a question."""


def _command(config: RunsConfig) -> None:
    if config.free is not None and config.replay is not None:
        raise InputError("free and replay are two things; give one of them")
    if config.yes and config.free is None:
        raise InputError("yes=true answers the question of free=RUN; give free=RUN with it")
    if config.replay is not None:
        from acer_robot.training.incidents import repeat_incident

        for line in repeat_incident(Path(config.replay)):
            print(line, flush=True)
    elif config.free is not None:
        _free(Path(config.free), config.yes)
    else:
        _list(Path(config.folder))


def _free(run_dir: Path, is_agreed: bool) -> None:
    """Remove what a run can do without, after a question."""
    from acer_robot.run_folder.freeing import disposable, free
    from acer_robot.run_folder.owner import owned

    files = disposable(run_dir)
    size = sum(file.stat().st_size for file in files) / 2**20
    if not files:
        print(f"{run_dir} holds nothing to free: it has no replay and no former checkpoint")
        return
    what = f"{len(files)} files of replay and former checkpoints in {run_dir}, {size:,.0f} MiB"
    if not is_agreed:
        if not sys.stdin.isatty():
            raise InputError(f"free={run_dir} asks before it removes {what}; add yes=true to answer here")
        if input(f"remove {what}? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return
    with owned(run_dir):
        free(files)
    print(f"removed {what}; the run can still be evaluated and exported, and goes on with an empty replay")


def _list(folder: Path) -> None:
    from acer_robot.run_folder.listing import Listed, list_runs

    names = [field.name for field in dataclasses.fields(Listed)]
    rows = [names, *(list(dataclasses.astuple(run)) for run in list_runs(folder))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Run `acer-runs`."""
    run_command("runs", RunsConfig, _command)


if __name__ == "__main__":
    main()
