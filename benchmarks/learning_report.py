"""The report of benchmarks/learning.py: interquartile means by steps, seconds to a score, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from curves import (
    FloatArray,
    colors_of,
    draw,
    failures,
    grid,
    legend_above,
    markdown,
    provenance,
    returns_at,
    score,
    seconds_at,
)
from matplotlib.figure import Figure
from public_scores import PUBLIC, PUBLIC_SOURCE
from results_table import Point, Row, decode_curve

from acer_robot.charts import steps_label
from acer_robot.errors import InputError

Found = dict[str, dict[str, list[Row]]]
"""Task -> learner -> rows, the longest of each seed."""

EVERY = 10_000
BUDGETS = (100_000, 200_000, 300_000, 500_000, 1_000_000)
BASELINE, BASELINE_STEPS = "sb3_sac", 300_000
GOALS = {"halfcheetah": 5_000.0}
"""Returns whose time is told beside that of the baseline's own score."""
RESAMPLES = 5_000

_OF_2 = "learner.segments=32 learner.segment_length=2 learner.replay_ratio=64"
_WIDE = "learner.std_min_final=null learner.entropy_target_final=null"
_LARGE = "learner.replay_ratio=64 learner.lr=6e-4 learner.entropy_target=-1"
VARIANTS = {
    ("acer", "learner.deployed_alpha=null"): "acer, theta_avg deployed",
    ("acer", "num_envs=4 learner.learning_starts=10000"): "acer, long start",
    ("acer", _OF_2): "acer, 32 of 2",
    ("acer", f"{_OF_2} learner.deployed_alpha=null"): "acer, 32 of 2, theta_avg deployed",
    ("acer", f"{_OF_2} learner.deployed_alpha=null {_WIDE}"): "acer, 32 of 2, theta_avg deployed",
    ("acer", "quiet_envs=4 quiet_noise=0.2"): "acer, quiet",
    ("acer", "quiet_envs=4 quiet_noise=0.2 quiet_start=300000"): "acer, quiet late",
    ("acer", _LARGE): "acer, lr 6e-4",
    ("acer", f"{_LARGE} learner.deployed_alpha=null"): "acer, lr 6e-4, theta_avg deployed",
}
"""Learners with overrides whose rows the report has too, and what it calls them."""


@dataclass(frozen=True)
class Family:
    """Tasks whose returns are averaged, each divided by its scale."""

    title: str
    tasks: tuple[str, ...]
    scales: tuple[float, ...]


def collect(rows: Sequence[Row], order: Sequence[str]) -> Found:
    """Return the rows without overrides and of VARIANTS, the longest run of each seed, tasks in `order`.

    Raises:
        InputError: if there is none.
    """
    longest: dict[tuple[str, str, str], Row] = {}
    for row in sorted(rows, key=lambda row: -int(row["steps"])):
        name = VARIANTS.get((row["learner"], row["overrides"])) if row["overrides"] else row["learner"]
        if name is not None:
            longest.setdefault((row["task"], name, row["seed"]), row)
    if not longest:
        raise InputError("learning.csv has no run yet; do `run` first")
    found: Found = {}
    for task, learner, seed in sorted(longest, key=lambda key: (*order, key[0]).index(key[0])):
        found.setdefault(task, {}).setdefault(learner, []).append(longest[task, learner, seed])
    return found


def scores(rows: Sequence[Row], steps: int) -> FloatArray:
    """Return the score at `steps` of every run that was meant to go that far."""
    return np.array([score(row, grid(steps, EVERY)) for row in rows if int(row["steps"]) >= steps])


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
            columns = [scores(found.get(task, {}).get(name, ()), steps) for task in family.tasks]
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


def seconds_to(row: Row, goal: float) -> float:
    """Return the seconds of learning after which an evaluation first reached `goal`; infinity if none did."""
    return next((point.seconds for point in decode_curve(row["curve"]) if point.value >= goal), math.inf)


def time_shown(row: Row, goal: float) -> str:
    """Return the seconds to `goal`, or for how many steps and seconds the run did not reach it."""
    seconds = seconds_to(row, goal)
    if math.isfinite(seconds):
        return f"{seconds:.0f}"
    last = max(decode_curve(row["curve"]), key=lambda point: point.step, default=Point(0, 0.0, 0.0))
    return f"not in {last.seconds:.0f} ({steps_label(last.step)} steps)"


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


def curve(rows: Sequence[Row], by_seconds: bool) -> tuple[FloatArray, FloatArray]:
    """Return x and the returns [seeds, n] up to the shortest run; x are steps, or mean seconds at those steps."""
    steps = grid(min(int(row["steps"]) for row in rows), EVERY)
    values = np.array([returns_at(row, steps) for row in rows])
    if not by_seconds:
        return steps, values
    ended = [row for row in rows if row["status"] == "ok"] or rows
    seconds = np.array([seconds_at(row, steps) for row in ended]).mean(axis=0)
    kept = np.isfinite(seconds)
    return seconds[kept], values[:, kept]


def picture(found: Found, names: Sequence[str], by_seconds: bool) -> Figure:
    """Draw the learning curves, one panel a task."""
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 3.0 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = colors_of(names)
    for axes, (task, learners) in zip(panels, found.items(), strict=False):
        draw(axes, {name: curve(learners[name], by_seconds) for name in names if name in learners}, colors)
        for name in (name for name in names if name in learners):
            for row in learners[name]:
                points = decode_curve(row["curve"])
                x = [point.seconds if by_seconds else point.step for point in points]
                axes.plot(x, [point.value for point in points], color=colors[name], lw=0.6, alpha=0.5)
        end = axes.dataLim.x1
        public = {x: y for x, y in PUBLIC.get(task, {}).items() if x <= end and not by_seconds}
        if public:
            axes.plot(list(public), list(public.values()), "kx", ms=6, label="public SAC")
        axes.set_title(task, fontsize=10, loc="left")
        axes.set_xlim(left=0)
        if not by_seconds:
            axes.xaxis.set_major_formatter(lambda value, _: steps_label(value))
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    legend_above(figure)
    figure.supxlabel(
        "seconds of learning" if by_seconds else "environment steps (action repeat counted)", fontsize=9
    )
    figure.supylabel("return", fontsize=9)
    return figure


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
        "Written by `python benchmarks/learning.py report` from [learning.csv](learning.csv). Returns are means of 10\n"
        "deterministic episodes of the policy that the run would deploy: for *acer* an average over some 5,000\n"
        "updates, for *acer, theta_avg deployed*, which learns the same, the trust region's average over some 200.\n"
        "On Gymnasium's tasks *acer* has 16 segments of 8 steps in an update, and its noise narrows from 300,000 to\n"
        "400,000 updates; *32 of 2* has 32 of 2 steps (and noise that stays, where theta_avg is deployed); *long\n"
        "start* has four robots stepped together in place of sixteen, and 10,000 steps before the first update in\n"
        "place of 1,000; in *quiet* four of the sixteen act with a fifth of the standard deviation, in *quiet late*\n"
        "from 300,000 steps on. On dm_control's *acer* has wider noise, a learning rate of 1e-4 in place of 6e-4 and\n"
        "two updates of 32 of 2 to a command, and narrows its noise to what it begins with on Gymnasium's from\n"
        "150,000 to 300,000 updates; *lr 6e-4* has that noise throughout, and one update to a command.\n"
        "*acer_exploring* has the wider noise and the lower learning rate throughout and one update of 32 of 2;\n"
        "*acer_steady* is that with noise that narrows from 100,000 to 400,000 updates.\n"
        "A score at a step is the mean over the evaluations in the last tenth before it.\n"
        "Tables give rliable's interquartile mean [its 95 % stratified bootstrap interval] (runs); three runs or\n"
        "fewer leave nothing to trim, and few make intervals too narrow. *Public SAC* was not run here:\n"
        f"{PUBLIC_SOURCE}.",
        "## Each task, by environment steps",
        *each,
        "## Over tasks",
        *(f"### {group.title}\n\n{family_table(found, group, names)}" for group in groups),
        "## Seconds to a score\n\nUntil the first evaluation that reached it. Evaluation is not counted; what else ran "
        "on the machine is\n(see the load averages), so compare only runs that were made in turn.",
        time_table(found, names),
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
