"""The paper's algorithm at the paper's scale: 1,000,000 steps, with settings drawn as the paper draws them.

    python benchmarks/paper_scale.py run [--steps 1000000] [--seeds 3] [--first-seed 0] [--workers 1] [--tasks ..]
        [--learners ..]
    python benchmarks/paper_scale.py report [--steps 1000000]

Setting i is the i-th draw of delta and of the learning rate; it runs with seed i, and every learner gets the same ones.
`run` adds a row to benchmarks/results/paper_scale.csv for every run that has none: stop it and start it as you like.
`report` writes paper_scale.md and paper_scale.png beside it. The untrained policies that it compares with are rows of
paper.csv (`paper.py run`).
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import paper
from matplotlib.figure import Figure
from reports.paper_claims import UNTRAINED, claims_among, claims_table
from rows.command_line import add_run_options, chosen_seeds, in_one_line, positive
from rows.curves import (
    area,
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
from rows.results_table import Row, read_rows
from rows.runs import ROOT, Run, run_plan

from acer_robot.errors import InputError
from acer_robot.reporting.charts import steps_label

STEPS, EVERY = 1_000_000, 50_000
TABLE = ROOT / "benchmarks" / "results" / "paper_scale.csv"
TASKS = ("dmc/cheetah-run", "dmc/walker-walk")
LEARNERS = ("paper", "paper_no_trust_region", "tis", "a3c")
DELTA, LEARNING_RATE = (0.1, 2.0), (1e-4, 5e-4)


def setting(index: int) -> tuple[str, str]:
    """Return the options of draw number `index`: delta uniform in [0.1, 2], lr log-uniform in [1e-4, 5e-4].

    Source: Wang et al. 2017, section 6.
    """
    draw = random.Random(index)
    delta = draw.uniform(*DELTA)
    rate = math.exp(draw.uniform(*map(math.log, LEARNING_RATE)))
    return f"learner.delta={delta:.3g}", f"learner.lr={rate:.3g}"


def plan(steps: int, seeds: Iterable[int], tasks: Sequence[str], learners: Sequence[str]) -> list[Run]:
    """Return the runs, one setting after the other."""
    return [
        Run(task, learner, seed, steps, setting(seed), eval_every=EVERY)
        for seed in seeds
        for task in tasks
        for learner in learners
    ]


def report(rows: Sequence[Row], untrained: Sequence[Row], steps: int, folder: Path) -> list[Path]:
    """Write paper_scale.md and paper_scale.png of the rows of at least `steps` steps; return their paths.

    `untrained` are rows of policies that were never trained.

    Raises:
        InputError: if there is none, or `steps` are too few for an evaluation.
    """
    if steps < EVERY:
        raise InputError(
            f"--steps {steps} is too few; expected at least {EVERY}, the steps between evaluations"
        )
    rows = [row for row in rows if int(row["steps"]) >= steps]
    if not rows:
        raise InputError(
            f"paper_scale.csv has no run of {steps} steps or more; do `run` first, or give another --steps"
        )
    (folder / "paper_scale.md").write_text(_text(rows, untrained, steps), encoding="utf-8")
    _picture(rows, steps).savefig(folder / "paper_scale.png", dpi=110)
    return [folder / "paper_scale.md", folder / "paper_scale.png"]


def _text(rows: Sequence[Row], untrained: Sequence[Row], steps: int) -> str:
    settings = sorted({row["seed"] for row in rows}, key=int)
    header = ("task", "learner", *(f"setting {seed}" for seed in settings), "mean", "best")
    lines = []
    for task, learner in _present(rows):
        found = {row["seed"]: score(row, grid(steps, EVERY)) for row in _of(rows, task, learner)}
        cells = [f"{found[seed]:.0f}" if seed in found else "" for seed in settings]
        values = list(found.values())
        lines.append([task, learner, *cells, f"{np.mean(values):.0f}", f"**{max(values):.0f}**"])
    drawn = markdown(
        ("setting", "delta", "learning rate"),
        [[seed, *(option.partition("=")[2] for option in setting(int(seed)))] for seed in settings],
    )
    sections = [
        "# The paper's algorithm at the paper's scale",
        f"Written by `python benchmarks/paper_scale.py report --steps {steps}` from "
        "[paper_scale.csv](paper_scale.csv).\n"
        f"The score is the mean return over the last tenth of {steps:,}\nenvironment steps (action repeat counted). "
        f"Every {EVERY:,} steps the average policy is evaluated,\ndeterministic, over 10 episodes of at most 1,000.",
        f"Settings are drawn as in the paper, and the same for every learner; `tis`, `a3c` and\n"
        f"`paper_no_trust_region` do not read delta. Setting i has seed i.\n\n{drawn}",
        f"## Scores\n\n{markdown(header, lines)}",
        "## The paper's claims at this scale\n\n"
        "By the rule of [paper.md](paper.md), with settings in the place of seeds. The untrained policies are those of "
        f"[paper.csv](paper.csv).\n\n{_claims(rows, untrained, steps)}",
        "## Learning curves\n\nEach curve is one setting.\n\n![paper_scale.png](paper_scale.png)",
        f"## Runs\n\n{failures(rows)}\n\n{provenance(rows)}",
    ]
    return "\n\n".join(sections) + "\n"


def _claims(rows: Sequence[Row], untrained: Sequence[Row], steps: int) -> str:
    """Return the table of the claims that compare these learners."""
    x, areas = grid(steps, EVERY), dict[str, dict[str, np.ndarray]]()
    for task, learner in _present(rows):
        areas.setdefault(task, {})[learner] = np.array([area(row, x) for row in _of(rows, task, learner)])
    for task, learners in areas.items():
        if floor := [area(row, x) for row in untrained if row["task"] == task]:
            learners[UNTRAINED] = np.array(floor)
    return claims_table(areas, claims_among(LEARNERS))


def _present(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the pairs of task and learner that have a row, tasks first."""
    return [(task, learner) for task in TASKS for learner in LEARNERS if _of(rows, task, learner)]


def _of(rows: Sequence[Row], task: str, learner: str) -> list[Row]:
    return [row for row in rows if (row["task"], row["learner"]) == (task, learner)]


def _picture(rows: Sequence[Row], steps: int) -> Figure:
    """Draw every run's learning curve: a panel for each task, a colour for each learner."""
    tasks = list(dict.fromkeys(task for task, _ in _present(rows)))
    figure = Figure(figsize=(5.5 * len(tasks), 3.8), layout="constrained")
    colors, x = colors_of(LEARNERS), grid(steps, EVERY)
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        for learner in LEARNERS:
            for row in _of(rows, task, learner):
                draw(axes, {learner: (x, returns_at(row, x)[None])}, colors)
        axes.set_title(task, fontsize=10, loc="left")
        axes.set_xlim(0, x[-1])
        axes.set_ylim(bottom=0.0)
        axes.xaxis.set_major_formatter(lambda value, _: steps_label(value))
    legend_above(figure)
    figure.supxlabel("environment steps (action repeat counted)", fontsize=9)
    figure.supylabel("return of the average policy", fontsize=9)
    return figure


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description="The paper at the paper's scale, with drawn settings.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="do the runs that have no row yet")
    add_run_options(run, TASKS, LEARNERS)
    written = commands.add_parser("report", help="write the table and the picture beside paper_scale.csv")
    for command in (run, written):
        command.add_argument("--steps", type=positive, default=STEPS)
    options = parser.parse_args()
    if options.command == "run":
        run_plan(
            plan(options.steps, chosen_seeds(options), options.tasks, options.learners),
            TABLE,
            options.workers,
        )
    else:
        untrained = [row for row in read_rows(paper.TABLE) if row["overrides"] == " ".join(paper.UNTRAINED)]
        paths = report(read_rows(TABLE), untrained, options.steps, TABLE.parent)
        print("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    in_one_line(main)
