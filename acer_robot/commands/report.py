"""`acer-report`: everything worth knowing about a run, or about many runs, in one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.errors import InputError
from acer_robot.reporting.comparison import write_comparison
from acer_robot.reporting.report import write_report


@dataclass
class ReportConfig:
    """Options of `acer-report`."""

    run: str = ""
    """A run folder. Its report.html is overwritten."""
    runs: list[str] = field(default_factory=list)
    """Run folders, or patterns of them, to compare: runs=[runs/*]. Quote the option for shells that expand brackets."""
    out: str | None = None
    """File to write; default: report.html in the run folder, or comparison.html here. A comparison also writes .md and
    .csv beside it."""


def _report(config: ReportConfig) -> None:
    if bool(config.run) == bool(config.runs):
        raise InputError(
            "give run=DIR for the report of one run, or runs=[DIR,DIR] or runs=[runs/*] to compare runs"
        )
    if config.run:
        print(write_report(Path(config.run), out=None if config.out is None else Path(config.out)))
        return
    files, left_out = write_comparison(config.runs, Path(config.out or "comparison.html"))
    print(*(f"left out: {line}" for line in left_out), *files, sep="\n")


def main() -> None:
    """Run `acer-report`."""
    run_command("report", ReportConfig, _report)


if __name__ == "__main__":
    main()
