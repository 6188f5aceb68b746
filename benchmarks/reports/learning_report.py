"""The report of benchmarks/learning.py: interquartile means by steps, seconds to a score, falls, and every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reports.learning_pictures import picture
from reports.learning_rows import (
    BASELINE,
    BASELINE_STEPS,
    BUDGETS,
    FALLS,
    FALLS_FROM,
    GOALS,
    Found,
    collect,
    fallen,
    runs_of,
    scores,
    time_shown,
)
from reports.public_scores import PUBLIC, PUBLIC_SOURCE
from rows.curves import FloatArray, failures, markdown, provenance
from rows.results_table import Row

from acer_robot.reporting.charts import steps_label

RESAMPLES = 5_000


@dataclass(frozen=True)
class Family:
    """Tasks whose returns are averaged, each divided by its scale."""

    title: str
    tasks: tuple[str, ...]
    scales: tuple[float, ...]


def interquartile_mean(values: FloatArray) -> tuple[float, float, float]:
    """Return rliable's interquartile mean of [runs, tasks] and its 95 % stratified bootstrap interval."""
    from rliable import library, metrics  # type: ignore  # an extra; untyped where it is there

    def aggregate(sample: FloatArray) -> FloatArray:
        return np.array([metrics.aggregate_iqm(sample)])

    # rliable resamples with numpy's global generator, whatever random_state it is given.
    np.random.seed(0)
    points, intervals = library.get_interval_estimates({"": values}, aggregate, reps=RESAMPLES)
    low, high = intervals[""][:, 0]
    return float(points[""][0]), float(low), float(high)


def cell(values: FloatArray, digits: int = 0) -> str:
    """Return "mean [low, high] (runs)" of [runs, tasks]; without interval where there is one run, "" where none."""
    if not values.size:
        return ""
    if len(values) == 1:
        return f"{values.mean():.{digits}f} (1)"
    mean, low, high = interquartile_mean(values)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}] ({len(values)})"


def task_table(
    learners: Mapping[str, Sequence[Row]], names: Sequence[str], public: Mapping[int, float]
) -> str:
    """Return learners against budgets for one task, public scores last."""
    learners = {name: learners[name] for name in names if name in learners}
    budgets = [b for b in BUDGETS if any(len(scores(rows, b)) for rows in learners.values())]
    lines = [[name, *(cell(scores(rows, b)[:, None]) for b in budgets)] for name, rows in learners.items()]
    if public:
        lines.append(["*public SAC*", *(f"{public[b]:.0f}" if b in public else "" for b in budgets)])
    return markdown(("learner", *(steps_label(b) for b in budgets)), lines)


def family_table(found: Found, family: Family, learners: Sequence[str]) -> str:
    """Return learners against budgets over the tasks of a family, as far as each has runs of all of them."""
    lines = []
    for name in learners:
        cells = []
        for steps in BUDGETS:
            columns = [scores(runs_of(found, task, name), steps) for task in family.tasks]
            runs = min(map(len, columns))
            scaled = [column[:runs] / scale for column, scale in zip(columns, family.scales, strict=True)]
            cells.append(cell(np.stack(scaled, axis=1), 2))
        if any(cells):
            lines.append([name, *cells])
    return (
        markdown(("learner", *(steps_label(b) for b in BUDGETS)), lines)
        if lines
        else "No learner has all tasks."
    )


def run_table(rows: Sequence[Row]) -> str:
    """Return the scores of every row, whatever its options."""
    lines = []
    for row in sorted(rows, key=lambda row: [row[name] for name in ("task", "learner", "overrides", "seed")]):
        which = [row["task"], row["learner"], row["overrides"].replace("learner.", ""), row["seed"]]
        cells = ["".join(f"{value:.0f}" for value in scores([row], steps)) for steps in BUDGETS]
        lines.append([*which, steps_label(int(row["steps"])), *cells])
    header = ("task", "learner", "options", "seed", "steps", *(f"at {steps_label(b)}" for b in BUDGETS))
    return markdown(header, lines)


def time_table(found: Found, names: Sequence[str]) -> str:
    """Return for every task with the baseline the seconds that each learner's runs took to its score."""
    lines = []
    for task, learners in found.items():
        known = scores(learners.get(BASELINE, ()), BASELINE_STEPS)
        goals = {f"{BASELINE} at {steps_label(BASELINE_STEPS)}": float(known.mean())} if len(known) else {}
        goals |= {"fixed": GOALS[task]} if task in GOALS else {}
        for title, goal in goals.items():
            for name in (name for name in names if name in learners):
                shown = ", ".join(time_shown(row, goal) for row in learners[name])
                lines.append([task, f"{goal:.0f} ({title})", name, shown])
    return markdown(("task", "return to reach", "learner", "seconds of learning, one a seed"), lines)


def fall_table(found: Found, names: Sequence[str]) -> str:
    """Return for the tasks of FALLS how many evaluations of every run are below the task's limit."""
    lines = []
    for task, limit in FALLS.items():
        learners = found.get(task, {})
        for name in (name for name in names if name in learners):
            for row in sorted(learners[name], key=lambda row: int(row["seed"])):
                cells = [fallen(row, limit, first) for first in FALLS_FROM]
                lines.append([task, f"{limit:.0f}", name, row["seed"], *cells])
    header = (
        "task", "below", "learner", "seed", *(f"from {steps_label(first)} on" for first in FALLS_FROM)
    )  # fmt: skip
    return markdown(header, lines)


def families(found: Found, gymnasium: tuple[str, ...], dm_control: tuple[str, ...]) -> list[Family]:
    """Return dm_control's tasks divided by 1,000 and Gymnasium's by the baseline's score, where it was run."""
    known = [Family("dm_control, returns divided by 1,000", dm_control, (1_000.0,) * len(dm_control))]
    reference = [scores(found.get(task, {}).get(BASELINE, ()), BASELINE_STEPS) for task in gymnasium]
    if all(map(len, reference)):
        title = f"Gymnasium, returns divided by the mean of {BASELINE} at {steps_label(BASELINE_STEPS)} steps"
        known.insert(0, Family(title, gymnasium, tuple(float(sample.mean()) for sample in reference)))
    return known


def text(found: Found, names: Sequence[str], groups: Sequence[Family], everything: Sequence[Row]) -> str:
    """Return the report in Markdown; `everything` are the rows of `found` and all others."""
    rows = [row for learners in found.values() for runs in learners.values() for row in runs]
    each = [f"### {task}\n\n{task_table(runs, names, PUBLIC.get(task, {}))}" for task, runs in found.items()]
    sections = [
        "# Learning: ACER beside Stable-Baselines3",
        "Written by `python benchmarks/learning.py report` from [learning.csv](learning.csv). Returns are means of\n"
        "10 deterministic episodes of the policy that the run exports: for *acer* an average over some 5,000\n"
        "updates, for *acer, theta_avg exported*, which learns the same, the trust region's average over some 200.\n"
        "On HalfCheetah-v5 *acer* reads a learnt embedding in the critic, has two antithetic samples in the dueling\n"
        "network, its noise narrows from 100,000 to 200,000 updates, it draws segments by priority, and its policy\n"
        "learns in every second update. *policy in each*, the default before, learns in each, as all that follow. *no\n"
        "priorities*, the default before that, draws segments uniformly. *noise to 300k* and *noise to 60k* have\n"
        "the embedding, five independent samples, and noise that narrows from 300,000 and from 60,000 updates on.\n"
        "*no embedding* was the default before these; ACER's other settings there are of that time.\n"
        "dm_control's tasks but fish-swim have the embedding and the two samples, too; *no embedding* was their\n"
        "default before. On fish-swim and Walker2d-v5 *embedding* has both. *bins*, Walker2d-v5's default for a\n"
        "time, has critics whose values are distributions over bins; *embedding, bins* has the embedding and the\n"
        "two samples as well. On Gymnasium's tasks *acer* has 16 segments of 8 steps in an update, and on\n"
        "Walker2d-v5 its noise narrows from 300,000 to 400,000 updates; *32 of 2* has 32 of 2 steps (and noise that\n"
        "stays, where theta_avg is exported); *long start* has four robots stepped together in place of sixteen,\n"
        "and 10,000 steps before the first update in place of 1,000; in *quiet* four of the sixteen act with a\n"
        "fifth of the standard deviation, in *quiet late* from 300,000 steps on. *delta 0.1* and *delta 1* have\n"
        "another trust region than the task's default, 0.1 on Walker2d-v5 and 1 elsewhere; ACER's settings there\n"
        "that are older than 0.1 (all but those with *embedding* or *bins*) have 1. On dm_control's *acer* has wider\n"
        "noise, a learning rate of 1e-4 in place of 6e-4 and two updates of 32 of 2 to a command, and narrows its\n"
        "noise to what it begins with on Gymnasium's from 150,000 to 300,000 updates; *lr 6e-4* has that noise\n"
        "throughout, and one update to a command. *acer_exploring* has the wider noise and the lower learning rate\n"
        "throughout and one update of 32 of 2; *acer_steady* is that with noise that narrows from 100,000 to\n"
        "400,000 updates. A score at a step is the mean over the evaluations in the last tenth before it. Tables\n"
        "give rliable's interquartile mean [its 95 % stratified bootstrap interval] (runs); three runs or fewer\n"
        "leave nothing to trim, and few make intervals too narrow. *Public SAC* was not run here:\n"
        f"{PUBLIC_SOURCE}.",
        "## Each task, by environment steps",
        *each,
        "## Over tasks",
        *(f"### {group.title}\n\n{family_table(found, group, names)}" for group in groups),
        "## Seconds to a score\n\nUntil the first evaluation that reached it. Evaluation is not counted; what else ran "
        "on the machine is\n(see the load averages), so compare only runs that were made in turn.",
        time_table(found, names),
        "## Falls\n\nEvaluations below a return that the run had reached before: how many of those from a step on,\n"
        "and nothing where it had not reached it.",
        fall_table(found, names),
        "## Learning curves\n\nMean over seeds as far as all of them went, with a band of one standard error;\n"
        "thin: every run to its end.",
        "![by steps](learning_steps.png)\n\n![by seconds](learning_seconds.png)",
        "## Scores of every run\n\nEach row of learning.csv, those of other settings included. Former defaults are\n"
        "written out as options; what commands call *acer_annealed*, or *acer_settling* on dm_control, is now *acer*.",
        run_table(everything),
        f"## Runs\n\n{failures(rows)}\n\n{provenance(rows)}",
    ]
    return "\n\n".join(sections) + "\n"


def report(
    rows: Sequence[Row],
    names: Sequence[str],
    gymnasium: tuple[str, ...],
    dm_control: tuple[str, ...],
    folder: Path,
) -> list[Path]:
    """Write learning.md and its pictures into `folder`; return their paths.

    Raises:
        InputError: if there is no run.
    """
    found = collect(rows, gymnasium + dm_control)
    others = {name for learners in found.values() for name in learners} - set(names)
    names = (*names, *sorted(others))
    for name, by_seconds in (("steps", False), ("seconds", True)):
        picture(found, names, by_seconds).savefig(folder / f"learning_{name}.png", dpi=110)
    (folder / "learning.md").write_text(
        text(found, names, families(found, gymnasium, dm_control), rows), encoding="utf-8"
    )
    return [folder / name for name in ("learning.md", "learning_steps.png", "learning_seconds.png")]
