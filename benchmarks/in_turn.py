"""ACER's default recipe and Stable-Baselines3's SAC in turn on the same cores: seconds of learning to SAC's own score.

    python benchmarks/in_turn.py [--task halfcheetah] [--seeds 3] [--first-seed 0] [--threads 2] [--score 8546]

Run it on an otherwise idle machine, whose cores each run has to itself. Of each seed SAC comes first and ACER after it;
a run ends with the first evaluation that reaches the score, by default what SAC has at 300,000 environment steps in
learning.csv (the mean over its seeds), or at 300,000 steps. Evaluation is not counted. Each run adds a row to
benchmarks/results/in_turn.csv; what has a row is left alone. Of a run of SAC to 300,000 steps the seconds to its own
score, the mean of its last tenth's evaluations, are printed too. SAC needs the extra: pip install -e '.[benchmarks]'.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from statistics import median

from learning import EVAL_EVERY, GYMNASIUM
from learning import TABLE as LEARNING
from reports.learning_rows import BASELINE, BASELINE_STEPS, collect, scores, seconds_to, time_shown
from rows.command_line import in_one_line, positive, whole
from rows.results_table import Row, decode_curve, key_of, read_rows
from rows.runs import ROOT, Run, run_plan

from acer_robot.errors import InputError

TABLE = ROOT / "benchmarks" / "results" / "in_turn.csv"
OURS = "acer"


def own_score(task: str) -> float:
    """Return the baseline's mean score in learning.csv, to a whole number.

    Raises:
        InputError: if no run of it went that far.
    """
    found = collect(read_rows(LEARNING), GYMNASIUM)
    reached = scores(found.get(task, {}).get(BASELINE, ()), BASELINE_STEPS)
    if not len(reached):
        raise InputError(
            f"learning.csv has no {BASELINE} on {task} to {BASELINE_STEPS:,} steps; give --score"
        )
    return round(float(reached.mean()))


def plan(task: str, score: float, seeds: Sequence[int], threads: int) -> list[Run]:
    """Return the runs, the baseline and ACER in turn."""
    common = {"eval_every": EVAL_EVERY, "threads": threads, "until": score}
    return [
        Run(task, learner, seed, BASELINE_STEPS, compiled=learner == OURS, **common)
        for seed in seeds
        for learner in (BASELINE, OURS)
    ]


def summary(rows: Sequence[Row], score: float) -> str:
    """Return each run's seconds, and the ratio of ACER's to the baseline's, every run against every run.

    A run of the baseline that did not reach the score counts with the seconds that it had, too few for it; one of ACER
    counts as infinite.
    """
    of = {learner: [row for row in rows if row["learner"] == learner] for learner in (BASELINE, OURS)}
    lines = [f"| learner | seed | seconds to {score:,.0f} | load |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['learner']} | {row['seed']} | {time_shown(row, score)} | {row['load']} |"
        for runs in of.values()
        for row in runs
    ]
    curves = [decode_curve(row["curve"]) for row in of[BASELINE]]
    theirs = [curve[-1].seconds for curve in curves if curve]
    ratios = sorted(seconds_to(row, score) / seconds for row in of[OURS] for seconds in theirs)
    if ratios:
        low, middle, high = (
            f"{r:.2f}" if math.isfinite(r) else "never" for r in (ratios[0], median(ratios), ratios[-1])
        )
        lines.append(f"\n{OURS} over {BASELINE}: {middle}, from {low} to {high} ({len(ratios)} pairs)")
    return "\n".join([*lines, *to_own_score(of)])


def to_own_score(of: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return of each baseline run that went to its end the score, and the seconds to it of both runs of its seed."""
    lines = []
    for row in of[BASELINE]:
        curve = decode_curve(row["curve"])
        if not curve or curve[-1].step < BASELINE_STEPS:
            continue
        own = float(scores([row], BASELINE_STEPS)[0])
        beside = [other for other in of[OURS] if other["seed"] == row["seed"]]
        seconds = [f"{run['learner']} {time_shown(run, own)}" for run in (row, *beside)]
        lines.append(f"seconds to the {own:,.0f} of {BASELINE}'s seed {row['seed']}: {', '.join(seconds)}")
    return lines


def main() -> None:
    """Do the runs that have no row and print them all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", choices=GYMNASIUM, default=GYMNASIUM[0])
    parser.add_argument("--seeds", type=positive, default=3, help="how many")
    parser.add_argument("--first-seed", type=whole, default=0)
    parser.add_argument("--threads", type=positive, default=2, help="of each run; default: 2")
    parser.add_argument("--score", type=float, help="default: the baseline's own")
    options = parser.parse_args()
    score = own_score(options.task) if options.score is None else options.score
    if not math.isfinite(score):
        raise InputError(f"--score {score} is no return; give a number, as 8546, or leave it out")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs = plan(options.task, score, seeds, options.threads)
    run_plan(runs, TABLE, workers=1)
    keys = {run.key for run in runs}
    print(summary([row for row in read_rows(TABLE) if key_of(row) in keys], score))


if __name__ == "__main__":
    in_one_line(main)
