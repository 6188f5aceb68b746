"""`acer-runs`: a table of the runs below a folder: state, task, steps, scores, time and size on disk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from acer_robot.commands.compose import run_command


@dataclass
class RunsConfig:
    """Options of `acer-runs`."""

    folder: str = "runs"
    """A folder that holds run folders, at any depth."""


def _list(config: RunsConfig) -> None:
    from acer_robot.run_folder.listing import Listed, list_runs

    names = [field.name for field in dataclasses.fields(Listed)]
    rows = [names, *(list(dataclasses.astuple(run)) for run in list_runs(Path(config.folder)))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Run `acer-runs`."""
    run_command("runs", RunsConfig, _list)


if __name__ == "__main__":
    main()
