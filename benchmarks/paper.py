"""The paper's algorithm against its baselines and its own ablations, on the paper's tasks.

    python benchmarks/paper.py run [--steps 100000] [--seeds 3] [--first-seed 0] [--workers 1] [--tasks ..]
        [--learners ..]
    python benchmarks/paper.py report

`run` adds a row to benchmarks/results/paper.csv for every run that has none: stop it and start it as you like.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from reports.paper_report import report
from rows.command_line import add_run_options, chosen_seeds, in_one_line, positive
from rows.results_table import read_rows
from rows.runs import ROOT, Run, run_plan

STEPS = 100_000
"""The budget of the results that are published; more steps make rows of their own."""
TABLE = ROOT / "benchmarks" / "results" / "paper.csv"
TASKS = (
    "dmc/cartpole-swingup", "dmc/reacher-hard", "dmc/cheetah-run", "dmc/fish-swim", "dmc/walker-walk",
    "dmc/humanoid-stand",
)  # fmt: skip
LEARNERS = (
    "paper", "a3c", "trust_a3c", "tis", "trust_tis", "paper_no_trust_region", "paper_no_sdn", "paper_no_retrace",
    "paper_no_truncation",
)  # fmt: skip
UNTRAINED = ("learner.learning_starts=1000000000",)
"""Overrides that leave the policy as it was initialised: the floor that returns are measured from."""


def plan(steps: int, seeds: Iterable[int], tasks: list[str], learners: list[str]) -> list[Run]:
    """Return the runs, one seed after the other, so that stopping at any time leaves a usable picture."""
    runs = []
    for seed in seeds:
        runs += [Run(task, "paper", seed, 1_000, UNTRAINED, eval_every=1_000) for task in tasks]
        runs += [Run(task, learner, seed, steps) for task in tasks for learner in learners]
    return runs


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description="The paper against its baselines and ablations.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="do the runs that have no row yet")
    add_run_options(run, TASKS, LEARNERS)
    run.add_argument("--steps", type=positive, default=STEPS)
    written = commands.add_parser("report", help="write the tables and pictures beside paper.csv")
    written.add_argument("--steps", type=positive, default=STEPS)
    options = parser.parse_args()
    if options.command == "run":
        runs = plan(options.steps, chosen_seeds(options), options.tasks, options.learners)
        run_plan(runs, TABLE, options.workers)
    else:
        paths = report(read_rows(TABLE), options.steps, " ".join(UNTRAINED), TASKS, TABLE.parent)
        print("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    in_one_line(main)
