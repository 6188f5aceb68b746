"""`acer-report`: everything worth knowing about a run in one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.reporting.report import write_report
from acer_robot.schema import MISSING


@dataclass
class ReportConfig:
    """Options of `acer-report`."""

    run: str = MISSING
    """A run folder. Its report.html is overwritten."""


def _report(config: ReportConfig) -> None:
    print(write_report(Path(config.run)))


def main() -> None:
    """Run `acer-report`."""
    run_command("report", ReportConfig, _report)


if __name__ == "__main__":
    main()
