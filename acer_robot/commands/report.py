"""`acer-report`: everything worth knowing about a run, or about many runs, in one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.errors import InputError
from acer_robot.run_folder.policy_path import run_folder


@dataclass
class WandbReportConfig:
    """A Report in Weights & Biases."""

    report: str | None = None
    """ENTITY/PROJECT that also gets a W&B Report on these runs, which must be in that project; null: none."""


@dataclass
class ReportConfig:
    """Options of `acer-report`."""

    run: str = ""
    """A run folder or its export/. Its report.html is overwritten."""
    runs: list[str] = field(default_factory=list)
    """Run folders, or patterns of them, to compare: runs=[runs/*]. Quote the option for shells that expand brackets."""
    out: str | None = None
    """File to write; its folder is created. Default: report.html in the run folder; for runs=.. comparison.html in the
    folder that you are in. A comparison also writes the same name with .md and .csv beside it."""
    wandb: WandbReportConfig = field(default_factory=WandbReportConfig)


def _report(config: ReportConfig) -> None:
    if bool(config.run) == bool(config.runs):
        raise InputError(
            "give run=DIR for the report of one run, or runs=[DIR,DIR] or runs=[runs/*] to compare runs"
        )
    from acer_robot.reporting.comparison import write_comparison
    from acer_robot.reporting.report import write_report
    from acer_robot.reporting.wandb_report import check_report
    from acer_robot.run_folder.layout import check_folder

    if config.out is not None:
        check_folder("out", Path(config.out).parent)
    target = None if config.wandb.report is None else check_report(config.wandb.report)
    runs = [str(run_folder(Path(run))) for run in ([config.run] if config.run else config.runs)]
    if config.run:
        print(write_report(Path(runs[0]), out=None if config.out is None else Path(config.out)))
    else:
        files, left_out = write_comparison(runs, Path(config.out or "comparison.html"))
        print(*(f"left out: {line}" for line in left_out), *files, sep="\n")
    if target is not None:
        _report_to_wandb(runs, *target)


def _report_to_wandb(patterns: list[str], entity: str, project: str) -> None:
    """Save a W&B Report and print its address; say what wandb does not have yet."""
    from acer_robot.reporting.wandb_report import build_report, not_uploaded, save_report

    report, runs, left_out = build_report(patterns, entity, project)
    print(*(f"not in the W&B Report: {line}" for line in left_out), sep="\n", end="\n" * bool(left_out))
    for command in not_uploaded(runs):
        print(f"not uploaded yet: {command}")
    print(f"W&B Report: {save_report(report)}")


def main() -> None:
    """Run `acer-report`."""
    run_command("report", ReportConfig, _report)


if __name__ == "__main__":
    main()
