"""comparison.html, .md and .csv: runs side by side, grouped by task and settings over seeds."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acer_robot.errors import InputError
from acer_robot.reporting.charts import COLORS, DASHES, Curve, comparison
from acer_robot.reporting.page import duration, wide_and_narrow, write_page, write_text
from acer_robot.reporting.runs import FINISHED, Run, Setting, find_runs, group, shown
from acer_robot.reporting.statistics import Estimate, FloatArray, estimate, has_rliable
from acer_robot.run_folder.layout import check_folder

TITLE = "Comparison of"
"""Begin of a comparison's title."""
POINTS = 100
"""Most points of a middle curve."""

Table = dict[str, Any]
"""caption, header and rows."""


def write_comparison(patterns: Sequence[str], out: Path) -> tuple[list[Path], list[str]]:
    """Write a comparison of the runs that `patterns` name: `out`, and beside it the same as .md and .csv.

    Returns:
        The three files, and one line on each folder that was left out.

    Raises:
        InputError: if `out` cannot be written, or the runs cannot be compared.
    """
    if out.suffix != ".html" or out.is_dir():
        raise InputError(f"out={out} is no page; give a name that ends in .html, as in out=comparison.html")
    check_folder("out", out.parent)
    files = [out, out.with_suffix(".md"), out.with_suffix(".csv")]
    for file, start in ((files[1], f"# {TITLE}"), (files[2], ",".join(_columns()))):
        if os.path.isfile(file) and not _begins_with(file, start):
            raise InputError(f"out={out} would replace {file}, which is no comparison; give another name")
    runs, left_out = find_runs(patterns)
    tasks = group(runs)
    sections = [_section(task, settings, number) for number, (task, settings) in enumerate(tasks.items())]
    texts = {
        "title": f"{TITLE} {len(runs)} {'run' if len(runs) == 1 else 'runs'}",
        "method": method(),
        "over_tasks": _over_tasks(tasks),
        "runs": _run_table(runs, tasks),
        "versions": _versions(runs),
        "left_out": left_out,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page("comparison.html.j2", out, sections=sections, **texts)
    write_text(files[1], _markdown(sections, texts))
    write_text(files[2], _csv(runs, tasks))
    return files, left_out


def _section(task: str, settings: Sequence[Setting], number: int) -> dict[str, Any]:
    """Return what the page shows of one task."""
    by_steps = [_curve(setting, "step", i) for i, setting in enumerate(settings)]
    by_time = [_curve(setting, "seconds", i) for i, setting in enumerate(settings)]
    styles = {"-": "solid", "--": "dashed", ":": "dotted"}
    return {
        "task": task,
        "key": f"task{number}",
        "legend": [
            {
                "name": setting.name,
                "color": f"--curve{i % len(COLORS)}",
                "style": styles[DASHES[i // len(COLORS) % len(DASHES)]],
            }
            for i, setting in enumerate(settings)
        ],
        "steps": wide_and_narrow(
            lambda size: comparison(by_steps, "environment steps", True, size),
            f"steps{number}",
            f"Return over environment steps on {task}, by setting",
        ),
        "time": wide_and_narrow(
            lambda size: comparison(by_time, "time of training", False, size),
            f"time{number}",
            f"Return over time of training on {task}, by setting",
        ),
        "scores": score_table(settings),
        "differences": difference_table(settings),
    }


def _curve(setting: Setting, axis: str, number: int) -> Curve:
    """Return the middle curve of a setting over "step" or "seconds", as far as all of its judged runs go."""
    runs = [(*_points(run, axis), run in setting.judged) for run in setting.runs if run.evaluations]
    judged = [(x, y) for x, y in (_points(run, axis) for run in setting.judged) if len(x)]
    x = np.zeros(0)
    if judged:
        first, last = max(x[0] for x, _ in judged), min(x[-1] for x, _ in judged)
        known = np.unique(np.concatenate([x for x, _ in judged]))
        x = known[(known >= first) & (known <= last)]
        if len(x) > POINTS:
            x = np.linspace(first, last, POINTS)
    found = Estimate(np.zeros(0), np.zeros(0), np.zeros(0))
    if len(x):
        found = estimate(np.stack([np.interp(x, *points) for points in judged])[:, None])
    color, dashes = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
    return Curve(color, dashes, x, *found, runs=[run for run in runs if len(run[0])])


def _points(run: Run, axis: str) -> tuple[FloatArray, FloatArray]:
    x, y = (np.asarray(run.evaluations.get(name, [])) for name in (axis, "eval/return_mean"))
    kept = np.isfinite(x)
    return x[kept], y[kept] if len(x) else np.zeros(0)


def score_table(settings: Sequence[Setting]) -> Table:
    """Return scores of a task's settings, with intervals over seeds."""

    def area(run: Run) -> float:
        x, y = _points(run, "step")
        return float(np.trapezoid(y, x) / (x[-1] - x[0])) if len(x) > 1 else math.nan

    rows = [
        [
            setting.name,
            setting.counts,
            ", ".join(str(run.seed) for run in setting.judged) or "-",
            _cell(setting.judged, lambda run: run.score),
            _cell(setting.judged, area),
            _cell(setting.judged, lambda run: run.exported),
            duration(float(np.median([run.seconds for run in setting.judged] or [math.nan]))),
        ]
        for setting in settings
    ]
    return {
        "caption": "Scores: interquartile mean and 95 % interval over seeds (number of runs)",
        "header": ["setting", "runs", "seeds counted", "return at the end", "mean return over the run", "exported file",
                   "time of training"],
        "rows": rows,
    }  # fmt: skip


def _cell(runs: Sequence[Run], of: Callable[[Run], float]) -> str:
    """Return "middle [low, high] (runs)" over the runs that have the number."""
    values = np.array([value for value in map(of, runs) if math.isfinite(value)])
    return _interval(estimate(values[:, None, None], has_rliable()), len(values)) if len(values) else "-"


def _interval(found: Estimate, count: int, digits: int = 1) -> str:
    middle, low, high = (float(part[0]) for part in found)
    interval = f" [{low:,.{digits}f}, {high:,.{digits}f}]" if count > 1 else ""
    return f"{middle:,.{digits}f}{interval} ({count})"


def _over_tasks(tasks: Mapping[str, Sequence[Setting]]) -> Table | None:
    """Return the settings that all tasks have, each score as a share of the task's best, if there is such.

    A share means something where the best score is above 0; other tasks are left out. The interval is stratified: the
    bootstrap draws seeds in each task on its own, as many in each.
    """
    scores: dict[str, list[list[float]]] = {}
    for setting in next(iter(tasks.values())):
        same = [[s for s in group if s.key == setting.key and s.judged] for group in tasks.values()]
        if all(same):
            scores[setting.name] = [[run.score for run in found[0].judged] for found in same]
    best = [
        max((float(np.mean(of_tasks[i])) for of_tasks in scores.values()), default=0.0)
        for i in range(len(tasks))
    ]
    kept = [i for i, score in enumerate(best) if score > 0.0]
    if len(kept) < 2:
        return None
    rows, is_cut = [], False
    for name, of_tasks in scores.items():
        runs = min(len(of_tasks[i]) for i in kept)
        is_cut |= any(len(of_tasks[i]) > runs for i in kept)
        scaled = np.array([of_tasks[i][:runs] for i in kept]).T / np.array([best[i] for i in kept])
        rows.append([name, _interval(estimate(scaled[:, :, None], has_rliable()), runs, 2)])
    left_out = [task for i, task in enumerate(tasks) if i not in kept]
    return {
        "caption": f"Over {len(kept)} tasks: return at the end as a share of the task's best setting"
        + ("; the first seeds of each task, as many as the task with fewest has" if is_cut else "")
        + (f"; without {', '.join(left_out)}, where no setting is above 0" if left_out else ""),
        "header": ["setting", "interquartile mean, 95 % interval (runs a task)"],
        "rows": rows,
    }


def difference_table(settings: Sequence[Setting]) -> Table | None:
    """Return the options in which a task's settings differ; None where there is one setting."""
    if len(settings) < 2:
        return None
    return {
        "caption": "What differs between the settings",
        "header": ["option", *(setting.name for setting in settings)],
        "rows": [
            [name, *(shown(setting.options[name]) for setting in settings)] for name in settings[0].options
        ],
    }


RUN_HEADER = ("task", "setting", "seed", "status", "steps", "of", "last return", "best return", "exported file",
              "seconds", "folder")  # fmt: skip


def _run_rows(runs: Sequence[Run], tasks: Mapping[str, Sequence[Setting]]) -> list[list[Any]]:
    names = {
        run.folder: setting.name for group in tasks.values() for setting in group for run in setting.runs
    }
    return [
        [run.task, names[run.folder], run.seed, run.status, int(run.reached), run.steps, run.last, run.best,
         run.exported, run.seconds, str(run.folder)]
        for run in runs
    ]  # fmt: skip


def _run_table(runs: Sequence[Run], tasks: Mapping[str, Sequence[Setting]]) -> Table:
    rows = []
    for row in _run_rows(runs, tasks):
        numbers = [f"{value:,.1f}" if math.isfinite(value) else "-" for value in row[6:9]]
        rows.append([*row[:3], row[3], f"{row[4]:,}", f"{row[5]:,}", *numbers, duration(row[9]), row[10]])
    return {"caption": "Every run", "header": [*RUN_HEADER[:9], "time", RUN_HEADER[10]], "rows": rows}


def _begins_with(file: Path, start: str) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(start)) == start.encode()
    except OSError:
        return False  # what cannot be read is not replaced


def _columns() -> list[str]:
    return [name.replace(" ", "_") for name in RUN_HEADER]


def _csv(runs: Sequence[Run], tasks: Mapping[str, Sequence[Setting]]) -> str:
    """Return one row a run; a number that is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_columns())
    for row in _run_rows(runs, tasks):
        writer.writerow(["" if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in row])
    return text.getvalue()


def _versions(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the versions that all runs share, and those in which runs differ, with their runs."""
    names = dict.fromkeys(name for run in runs for name in run.versions)
    values = {name: [run.versions.get(name, "not known") for run in runs] for name in names}
    differing: list[list[str]] = []
    for name, found in values.items():
        for value in dict.fromkeys(found) if len(set(found)) > 1 else ():
            folders = [run.folder.name for run, its in zip(runs, found, strict=True) if its == value]
            differing.append([name, value, ", ".join(folders)])
    return {
        "same": [[name, found[0]] for name, found in values.items() if len(set(found)) == 1],
        "differing": differing,
    }


def method() -> str:
    """Return how the middle, the band and the scores are computed, in prose."""
    by = (
        "rliable"
        if has_rliable()
        else 'acer_robot (rliable is not installed: pip install "acer-robot[stats]")'
    )
    return (
        "Thick: interquartile mean over the seeds of a setting. Band: 95 % bootstrap interval. Intervals in tables: by "
        f"{by}. Thin: each run, dotted where it does not count. Runs that are {FINISHED} count; where none is, those "
        "that are still running. A run "
        "that ended with an error does not count: look at their number before you compare. The return at the end is "
        "the mean of the evaluations in the last tenth of a run."
    )


def _markdown(sections: Sequence[Mapping[str, Any]], texts: Mapping[str, Any]) -> str:
    lines = [f"# {texts['title']}", "", texts["method"], ""]
    for section in sections:
        lines += [f"## {section['task']}", ""]
        lines += markdown_table(section["scores"])
        lines += markdown_table(section["differences"])
    lines += markdown_table(texts["over_tasks"])
    lines += ["## Runs", "", *markdown_table(texts["runs"])]
    if texts["left_out"]:
        lines += ["## Left out", "", *(f"- {line}" for line in texts["left_out"]), ""]
    lines += ["## Versions", "", *(f"- {name}: {value}" for name, value in texts["versions"]["same"])]
    lines += [f"- {name}: {value} in {folders}" for name, value, folders in texts["versions"]["differing"]]
    return "\n".join(lines) + "\n"


def markdown_table(table: Table | None) -> list[str]:
    """Return the lines of a table in Markdown; none for None."""
    if table is None:
        return []
    rows = [table["header"], ["---"] * len(table["header"]), *table["rows"]]
    lines = ("| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in rows)
    return [f"{table['caption']}:", "", *lines, ""]
