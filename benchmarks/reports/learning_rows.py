"""What learning.csv's rows say, each by itself: which of them the report has, scores, seconds to a score, falls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rows.curves import FloatArray, grid, score
from rows.results_table import Point, Row, decode_curve

from acer_robot.errors import InputError
from acer_robot.reporting.charts import steps_label

Found = dict[str, dict[str, list[Row]]]
"""Task -> learner -> rows, the longest of each seed."""

EVERY = 10_000
BUDGETS = (100_000, 200_000, 300_000, 500_000, 1_000_000)
BASELINE, BASELINE_STEPS = "sb3_sac", 300_000
GOALS = {"halfcheetah": 5_000.0}
"""Returns whose time is told beside that of the baseline's own score."""
FALLS = {"walker2d": 4_000.0}
"""Returns below which an evaluation counts as one with falls."""
FALLS_FROM = (100_000, 400_000)

_OF_2 = "learner.segments=32 learner.segment_length=2 learner.replay_ratio=64"
_WIDE = "learner.std_min_final=null learner.entropy_target_final=null"
_LARGE = "learner.replay_ratio=64 learner.lr=6e-4 learner.entropy_target=-1"
_NAMES = {
    "learner.deployed_alpha=null": "acer, theta_avg exported",
    "num_envs=4 learner.learning_starts=10000": "acer, long start",
    _OF_2: "acer, 32 of 2",
    f"{_OF_2} learner.deployed_alpha=null": "acer, 32 of 2, theta_avg exported",
    f"{_OF_2} learner.deployed_alpha=null {_WIDE}": "acer, 32 of 2, theta_avg exported",
    "quiet_envs=4 quiet_noise=0.2": "acer, quiet",
    "quiet_envs=4 quiet_noise=0.2 quiet_start=300000": "acer, quiet late",
    _LARGE: "acer, lr 6e-4",
    f"{_LARGE} learner.deployed_alpha=null": "acer, lr 6e-4, theta_avg exported",
}
_EACH = "learner.policy_every=1"
"""What HalfCheetah-v5's default was before its policy learnt in every second update."""
_UNIFORM = f"learner.priority_exponent=0 {_EACH}"
"""What it was before it had priorities; all of its other variants are of that time."""
_IID = "learner.sdn_samples=5 learner.sdn_antithetic=false"
_LATE = f"{_IID} learner.annealing_start=300000 {_UNIFORM}"
_NO_EMBEDDING = f"learner.embedding=0 {_LATE}"
"""What its default was before it had the embedding; `_LATE` is its first default with it."""
_PLAIN = f"learner.embedding=0 {_IID}"
"""What dm_control's default was before it had the embedding; fish-swim's is this still."""
_PAIR = "learner.embedding=64 learner.sdn_samples=2 learner.sdn_antithetic=true"
"""The embedding and the two samples on a task whose default has neither."""
_DELTA_1 = "learner.delta=1"
"""What Walker2d-v5's default was once."""
_BINS = "learner.value_bins=101 learner.critic_lr=3e-4"
"""What it was for a day: critics whose values are distributions over bins, which no longer exist."""
VARIANTS = {
    ("acer", _NO_EMBEDDING): "acer, no embedding",
    ("acer", _PLAIN): "acer, no embedding",
    ("acer", _PAIR): "acer, embedding",
    ("acer", _EACH): "acer, policy in each",
    ("acer", _UNIFORM): "acer, no priorities",
    ("acer", _LATE): "acer, noise to 300k",
    ("acer", f"learner.annealing_start=60000 {_IID} {_UNIFORM}"): "acer, noise to 60k",
    ("acer", f"learner.delta=0.1 {_NO_EMBEDDING}"): "acer, delta 0.1",
    ("acer", _BINS): "acer, bins",
    ("acer", f"{_PAIR} {_BINS}"): "acer, embedding, bins",
    ("acer", _DELTA_1): "acer, delta 1",
    **{("acer", options): name for options, name in _NAMES.items()},
    **{("acer", f"{options} {_DELTA_1}"): name for options, name in _NAMES.items()},  # Walker2d-v5's
    **{("acer", f"{options} {_NO_EMBEDDING}"): name for options, name in _NAMES.items()},  # HalfCheetah-v5's
    **{("acer", f"{options} {_PLAIN}"): name for options, name in _NAMES.items()},  # dm_control's
}
"""Learners with overrides whose rows the report has too, and what it calls them."""
KEPT = {("dmc/fish-swim", "acer, no embedding"): "acer"}
"""Where a task's default still is what other tasks' defaults were: its runs count for both in the tables over tasks."""


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


def runs_of(found: Found, task: str, name: str) -> Sequence[Row]:
    """Return the rows of a learner or variant on a task, those of KEPT included."""
    learners = found.get(task, {})
    return learners.get(name) or learners.get(KEPT.get((task, name), ""), ())


def scores(rows: Sequence[Row], steps: int) -> FloatArray:
    """Return the score at `steps` of every run that was meant to go that far."""
    return np.array([score(row, grid(steps, EVERY)) for row in rows if int(row["steps"]) >= steps])


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


def fallen(row: Row, limit: float, first: int) -> str:
    """Return how many evaluations from step `first` on are below `limit`, and the lowest; "" without any.

    Those before the run first reached `limit` are left out: it had yet to learn what it could lose.
    """
    points = decode_curve(row["curve"])
    reached = min((point.step for point in points if point.value >= limit), default=math.inf)
    values = [point.value for point in points if point.step >= max(first, reached)]
    if not values:
        return ""
    return f"{sum(value < limit for value in values)} of {len(values)} (lowest {min(values):.0f})"
