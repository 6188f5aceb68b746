"""A Report in Weights & Biases: the comparison of runs as panels that read the runs from wandb.

The panels show what wandb has of the runs. Tables and warnings come from the run folders, as in comparison.html.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from acer_robot.errors import InputError
from acer_robot.metrics import EVALUATION, LEARNER, ROLLOUT, metric
from acer_robot.reporting.comparison import difference_table, markdown_table, method, score_table
from acer_robot.reporting.contents import read_config
from acer_robot.reporting.health import readings
from acer_robot.reporting.run_logger import EVALUATION_VIDEO, EXPORTED_VIDEO
from acer_robot.reporting.runs import Run, Setting, find_runs, group
from acer_robot.reporting.wandb_artifact import ARTIFACT
from acer_robot.reporting.wandb_settings import base_url, has_api_key, one_line, wandb_module, why_unreachable
from acer_robot.run_folder.tables import read_table

EXTRA = (
    "the W&B Report needs wandb-workspaces, which is not installed: pip install 'acer-robot[wandb-reports]'"
)
GROUP = "task.id"
"""An option that all runs of a task share: wandb joins the runs of a set by it, so that a set has one curve."""
HALF, THIRD = 12, 8
"""Widths of panels; a Report is 24 wide."""


def check_report(target: str) -> tuple[str, str]:
    """Return entity and project of `wandb.report=entity/project`.

    Raises:
        InputError: if `target` is not of that form, or the extra wandb-reports is not installed.
    """
    found = re.fullmatch(r"([\w.-]+)/([^/\\#?%:\s]+)", target)
    if found is None:
        raise InputError(
            f"wandb.report={target!r} names no project; expected wandb.report=ENTITY/PROJECT, as in "
            "wandb.report=my-team/acer_robot"
        )
    workspaces()
    return found[1], found[2]


def workspaces() -> ModuleType:
    """Import the module that builds Reports.

    Raises:
        InputError: if the extra wandb-reports is not installed.
    """
    wandb_module()  # its variables are set before anything imports it
    try:
        import wandb_workspaces.reports.v2 as reports  # type: ignore  # an extra
    except ModuleNotFoundError as error:
        raise InputError(EXTRA) from error
    module: ModuleType = reports
    return module


def build_report(patterns: Sequence[str], entity: str, project: str) -> tuple[Any, list[Path], list[str]]:
    """Return a Report on the runs that `patterns` name, their folders, and one line on each run that is left out.

    Nothing is sent and no host is asked.

    Raises:
        InputError: if the runs cannot be compared, or none of them was reported to wandb.
    """
    reports = workspaces()
    runs, left_out = find_runs(patterns)
    ids = {run.folder: wandb_id(run.folder) for run in runs}
    left_out += [
        f"{run.folder} was not reported to wandb (wandb.mode=disabled)" for run in runs if not ids[run.folder]
    ]
    known = {folder: name for folder, name in ids.items() if name is not None}
    kept = [run for run in runs if run.folder in known]
    if not kept:
        raise InputError(
            f"no run of runs={','.join(patterns)} was reported to wandb; train with wandb.mode=online or offline"
        )
    blocks = [reports.MarkdownBlock(method()), *_warnings(reports, kept)]
    for task, settings in group(kept).items():
        blocks += _task_blocks(reports, task, settings, known)
    blocks += [
        reports.H2("Exported policy"),
        reports.P("The newest version of the artifact: policy file, card, metadata, test vectors and score."),
        reports.WeaveBlockArtifact(entity, project, ARTIFACT),
    ]
    noun = "run" if len(kept) == 1 else "runs"
    tasks = ", ".join(dict.fromkeys(run.task.rpartition("/")[2] for run in kept))
    title = f"{len(kept)} {noun} of {tasks} with acer_robot"[
        :128
    ]  # it becomes part of the address, which takes no slash
    report = reports.Report(entity=entity, project=project, title=title, blocks=blocks, width="fluid")
    return report, [run.folder for run in kept], left_out


def specification(report: Any) -> dict[str, Any]:  # noqa: ANN401 (a type of the extra)
    """Return what wandb is sent of a Report: its blocks and panels, as plain dictionaries."""
    spec: dict[str, Any] = report._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return spec


def save_report(report: Any) -> str:  # noqa: ANN401 (a type of the extra)
    """Save a Report and return its address.

    Raises:
        InputError: if there is no key, the server does not answer, or it refuses the Report.
    """
    url = base_url()
    if not has_api_key():
        raise InputError(f"wandb.report needs an API key for {url}; run `wandb login`, or set WANDB_API_KEY")
    if reason := why_unreachable(url):
        raise InputError(f"the W&B Report is not saved: {reason}; check the network")
    try:
        report.save()
        return str(report.url)
    # wandb raises errors of its own, of requests and of pydantic, and plain Exceptions.
    except Exception as error:
        raise InputError(
            f"the W&B Report is not saved: {url} answers: {one_line(error)}; check entity, project and key"
        ) from error


def wandb_id(run_dir: Path) -> str | None:
    """Return the id of a run in wandb, or None where the run was not reported."""
    named = (
        re.fullmatch(r"(?:offline-)?run-(\d+_\d+)-(.+)", path.name)
        for path in (run_dir / "wandb").glob("*run-*")
    )
    found = sorted(match.groups() for match in named if match)
    return found[-1][1] if found else None


def not_uploaded(runs: Sequence[Path]) -> list[str]:
    """Return the command that uploads each offline run that was not uploaded yet."""
    return [
        f"cd {shlex.quote(str(run))} && wandb sync {shlex.quote(str(folder.relative_to(run)))}"
        for run in runs
        for folder in sorted((run / "wandb").glob("offline-run-*-*"))
        if not any(folder.glob("*.synced"))
    ]


def _warnings(reports: ModuleType, runs: Sequence[Run]) -> list[Any]:
    """Return one block with every number that is outside of its healthy range at the end of a run."""
    lines = []
    for run in runs:
        learner = read_config(run.folder).get("learner", {})
        found = readings(read_table(run.folder / "metrics.csv"), run.evaluations, learner)
        lines += [
            f"- {run.folder.name}: {reading.sentence} Healthy: {reading.hint}."
            for reading in found.values()
            if reading.sick
        ]
    return [reports.H2("Warnings"), reports.MarkdownBlock("\n".join(lines))] if lines else []


def _task_blocks(
    reports: ModuleType, task: str, settings: Sequence[Setting], ids: Mapping[Path, str]
) -> list[Any]:
    """Return curves, scores, diagnostics and videos of one task; a set of runs is one setting over its seeds."""
    sets = [_runset(reports, setting, ids) for setting in settings]
    curves = [
        _line(reports, "Return over environment steps", "step", "eval/return_mean", HALF, 0),
        _line(reports, "Return over seconds of training", "seconds", "eval/return_mean", HALF, 1),
        _line(reports, "Training episodes", "step", "rollout/ep_return", HALF, 2),
        _line(reports, "Standard deviation over episodes", "step", "eval/return_std", HALF, 3),
    ]
    names = diagnostic_names(settings)
    diagnostics = [_line(reports, name, "step", name, THIRD, i) for i, name in enumerate(names)]
    videos = reports.MediaBrowser(
        title="Videos", media_keys=[EXPORTED_VIDEO, EVALUATION_VIDEO], num_columns=2,
        layout=reports.Layout(0, 0, 24, 12),
    )  # fmt: skip
    known = ((name, metric(name)) for name in names)
    how = [f"- **{name}**: {number.formula}. Healthy: {number.healthy}." for name, number in known if number]
    tables = [*markdown_table(score_table(settings)), *markdown_table(difference_table(settings))]
    return [
        reports.H2(task),
        reports.P("Line: mean over the seeds of a setting. Band: from the lowest to the highest seed."),
        reports.PanelGrid(runsets=sets, panels=curves),
        reports.H3("Scores"),
        reports.MarkdownBlock(without_folders("\n".join(tables))),
        reports.H3("Videos"),
        reports.PanelGrid(runsets=sets, panels=[videos], hide_run_sets=True),
        reports.H3("Diagnostics"),
        reports.MarkdownBlock("\n".join(how)),
        reports.PanelGrid(runsets=sets, panels=diagnostics, hide_run_sets=True),
    ]


def diagnostic_names(settings: Sequence[Setting]) -> list[str]:
    """Return the numbers that every run logs, and those that a task or a collector adds to these runs."""
    always = [name for name in (*ROLLOUT, *LEARNER, *EVALUATION) if name not in ("seconds", "time/seconds")]
    tables = [read_table(run.folder / "metrics.csv") for setting in settings for run in setting.runs]
    logged = dict.fromkeys(name for table in tables for name in table if metric(name))
    return [*always, *(name for name in logged if name not in (*always, "step", "seconds", "time/seconds"))]


def _runset(reports: ModuleType, setting: Setting, ids: Mapping[Path, str]) -> Any:  # noqa: ANN401
    """Return the runs of a setting, found by their ids and joined to one curve."""
    names = ", ".join(f"'{ids[run.folder]}'" for run in setting.runs)
    return reports.Runset(
        name=without_folders(setting.name), filters=f"ID in [{names}]", groupby=[f"config.{GROUP}"]
    )


def _line(reports: ModuleType, title: str, x: str, y: str, width: int, place: int) -> Any:  # noqa: ANN401
    """Return a curve at the place with that number, left to right and top to bottom."""
    across = 24 // width
    return reports.LinePlot(
        title=title, x=x, y=[y], title_x="environment steps" if x == "step" else x,
        groupby=reports.Config(GROUP), groupby_aggfunc="mean", groupby_rangefunc="minmax",
        layout=reports.Layout(place % across * width, place // across * 8, width, 8),
    )  # fmt: skip


def without_folders(text: str) -> str:
    """Return `text` with each absolute path cut to its last part, as in what a run sends.

    >>> without_folders("task.kwargs.xml_file=/home/me/robot.xml")
    'task.kwargs.xml_file=robot.xml'
    """
    return re.sub(r"(?<![\w./])/(?:[^/\s,|]+/)+", "", text)
