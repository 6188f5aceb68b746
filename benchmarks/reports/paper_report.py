"""The report of benchmarks/paper.py: the paper's claims one by one, tables and learning curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from reports.paper_claims import ABLATIONS, RULE, UNTRAINED, Samples, claims_table, scales
from rows.curves import (
    FloatArray,
    area,
    cell,
    colors_of,
    draw,
    failures,
    grid,
    legend_above,
    markdown,
    provenance,
    returns_at,
    score,
)
from rows.results_table import Row

from acer_robot.errors import InputError
from acer_robot.reporting.charts import steps_label

Found = dict[str, dict[str, list[Row]]]
"""Task -> learner -> rows, one a seed."""

EVERY = 20_000
BASELINES = ("paper", "a3c", "trust_a3c", "tis", "trust_tis")
NAMES = (*BASELINES, *ABLATIONS)
PICTURES = {"paper_baselines.png": BASELINES, "paper_ablations.png": ("paper", *ABLATIONS)}


def collect(rows: Sequence[Row], steps: int, untrained: str, order: Sequence[str]) -> Found:
    """Return the rows of at least `steps` steps, and those with the overrides `untrained` as a learner of that name.

    Of a seed's runs the longest counts alone: a shorter one is its beginning, not another sample.

    Raises:
        InputError: if there is none, or `steps` are too few for an evaluation.
    """
    if steps < EVERY:
        raise InputError(
            f"--steps {steps} is too few; expected at least {EVERY}, the steps between evaluations"
        )
    found: Found = {}
    longest: dict[tuple[str, str, str], Row] = {}
    for row in sorted(rows, key=lambda row: -int(row["steps"])):
        name = UNTRAINED if row["overrides"] == untrained else row["learner"]
        if name == UNTRAINED or (not row["overrides"] and int(row["steps"]) >= steps):
            longest.setdefault((row["task"], name, row["seed"]), row)
    for (task, name, _), row in longest.items():
        found.setdefault(task, {}).setdefault(name, []).append(row)
    found = {task: learners for task, learners in found.items() if set(learners) - {UNTRAINED}}
    if not found:
        raise InputError(
            f"paper.csv has no run of {steps} steps or more; do `run` first, or give another --steps"
        )
    return {task: found[task] for task in sorted(found, key=lambda task: (*order, task).index(task))}


def samples(found: Found, measure: Callable[[Row, FloatArray], float], steps: FloatArray) -> Samples:
    """Return `measure` of every row, by task and learner."""
    return {
        task: {name: np.array([measure(row, steps) for row in rows]) for name, rows in learners.items()}
        for task, learners in found.items()
    }


def scores_table(values: Samples) -> str:
    """Return learners against tasks: mean, half of the 95 % interval, number of seeds."""
    present = [name for name in (*NAMES, UNTRAINED) if any(name in values[task] for task in values)]
    none = np.array([])
    lines = [[name, *(cell(values[task].get(name, none)) for task in values)] for name in present]
    return markdown(("learner", *values), lines)


def picture(found: Found, names: Sequence[str], x: FloatArray) -> Figure:
    """Draw the learning curves of the learners `names`, one panel a task."""
    rows = -(-len(found) // 3)
    figure = Figure(figsize=(11.0, 3.0 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, 3, squeeze=False).ravel()
    colors = colors_of(names)
    for axes, (task, learners) in zip(panels, found.items(), strict=False):
        present = [name for name in names if name in learners]
        draw(axes, {n: (x, np.array([returns_at(row, x) for row in learners[n]])) for n in present}, colors)
        if UNTRAINED in learners:
            level = np.mean([returns_at(row, x[:1])[0] for row in learners[UNTRAINED]])
            axes.axhline(level, color="#555555", lw=1.0, ls=":", label=UNTRAINED)
        axes.set_title(task, fontsize=10, loc="left")
        axes.set_xlim(0, x[-1])
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.xaxis.set_major_formatter(lambda value, _: steps_label(value))
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    legend_above(figure)
    figure.supxlabel("environment steps (action repeat counted)", fontsize=9)
    figure.supylabel("return of the average policy", fontsize=9)
    return figure


def text(found: Found, steps: int) -> str:
    """Return the report in Markdown."""
    x = grid(steps, EVERY)
    areas, finals = samples(found, area, x), samples(found, score, x)
    rows = [row for learners in found.values() for runs in learners.values() for row in runs]
    aside = [task for task in areas if task not in scales(areas)]
    curves = [f"![{name}]({name})" for name in PICTURES]
    sections = [
        "# The paper's algorithm, its baselines and its ablations",
        f"Written by `python benchmarks/paper.py report --steps {steps}` from [paper.csv](paper.csv).\nReturns are "
        f"those of the average policy, deterministic, over 10 episodes, evaluated every {EVERY:,} of\n{steps:,} "
        "environment steps (action repeat counted).",
        f"## The paper's claims\n\n{RULE}\n\n{claims_table(areas)}",
        "Tasks that do not count, because nobody learnt them or no untrained policy was evaluated: "
        f"{', '.join(aside) or 'none'}.",
        "## Final score\n\nMean return over the last tenth of the steps ± half of the 95 % t interval (seeds).",
        scores_table(finals),
        "## Area under the learning curve\n\nMean return over all evaluations ± half of the 95 % t interval (seeds).",
        scores_table(areas),
        "## Learning curves\n\nMean over seeds; the band is one standard error.",
        *curves,
        f"## Runs\n\n{failures(rows)}\n\n{provenance(rows)}",
    ]
    return "\n\n".join(sections) + "\n"


def report(rows: Sequence[Row], steps: int, untrained: str, order: Sequence[str], folder: Path) -> list[Path]:
    """Write paper.md and its pictures into `folder`, tasks in `order`; return their paths.

    Raises:
        InputError: if there is no run of that many steps.
    """
    found = collect(rows, steps, untrained, order)
    for name, learners in PICTURES.items():
        picture(found, learners, grid(steps, EVERY)).savefig(folder / name, dpi=110)
    (folder / "paper.md").write_text(text(found, steps), encoding="utf-8")
    return [folder / "paper.md", *(folder / name for name in PICTURES)]
