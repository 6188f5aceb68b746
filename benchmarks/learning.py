"""ACER's default recipe against Stable-Baselines3's SAC and PPO: by environment steps and by seconds of learning.

    python benchmarks/learning.py run [--steps N] [--seeds 3] [--first-seed 0] [--workers 1] [--tasks ..]
        [--learners ..] [--overrides learner.delta=0.1 ..]
    python benchmarks/learning.py report

`run` adds a row to benchmarks/results/learning.csv for every run that has none: stop it and start it as you like.
`--overrides` are options for every run of ACER asked for, and part of its row; the report has such rows in its table of
every run alone, but for its VARIANTS.
The peers run Gymnasium's tasks only. They and the report need the extra: pip install -e '.[benchmarks]'.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from reports.learning_report import report
from rows.command_line import add_run_options, chosen_seeds, in_one_line, override, positive
from rows.results_table import read_rows
from rows.runs import PEERS, ROOT, Run, need_extra, run_plan

from acer_robot.errors import InputError

TABLE = ROOT / "benchmarks" / "results" / "learning.csv"
GYMNASIUM = ("halfcheetah", "walker2d")
DM_CONTROL = (
    "dmc/cheetah-run", "dmc/walker-walk", "dmc/walker-run", "dmc/cartpole-swingup", "dmc/reacher-hard",
    "dmc/fish-swim",
)  # fmt: skip
LEARNERS = ("acer", "sb3_sac", "sb3_ppo")
EVAL_EVERY = 10_000


def budget(task: str, learner: str) -> int:
    """Return the environment steps that a run takes where `--steps` is not given."""
    if learner == "sb3_ppo":
        return 1_000_000
    return 500_000 if task.startswith("dmc/") else 300_000


def plan(
    steps: int | None,
    seeds: Iterable[int],
    tasks: Sequence[str],
    learners: Sequence[str],
    overrides: Sequence[str] = (),
) -> list[Run]:
    """Return the runs, one seed after the other, so that stopping at any time leaves a usable picture.

    Raises:
        InputError: if there are overrides and a peer, which knows none of them, or if one is given twice or
            is set by `run` itself, so that the row would not tell what was run.
    """
    if overrides and (peers := sorted(set(learners) & set(PEERS))):
        raise InputError(
            f"--overrides are options of acer-train, which {', '.join(peers)} cannot take; leave them out"
        )
    more = tuple(overrides)
    runs = [
        Run(task, learner, seed, steps or budget(task, learner), more, eval_every=EVAL_EVERY, compiled=True)
        for seed in seeds
        for task in tasks
        for learner in learners
        if not (learner in PEERS and task.startswith("dmc/"))
    ]
    for run in runs:
        if twice := run.set_twice():
            raise InputError(
                f"--overrides: {', '.join(twice)} would be set twice; give each option once, and none that `run` sets"
            )
    return runs


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description="ACER against Stable-Baselines3's SAC and PPO.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="do the runs that have no row yet")
    add_run_options(run, GYMNASIUM + DM_CONTROL, LEARNERS)
    run.add_argument("--steps", type=positive, help="default: 300,000; dm_control 500,000; sb3_ppo 1,000,000")
    run.add_argument(
        "--overrides", type=override, nargs="+", default=[], metavar="OPTION", help="of every run"
    )
    commands.add_parser("report", help="write the tables and pictures beside learning.csv")
    options = parser.parse_args()
    if options.command == "run":
        runs = plan(options.steps, chosen_seeds(options), options.tasks, options.learners, options.overrides)
        run_plan(runs, TABLE, options.workers)
    else:
        need_extra("rliable")
        paths = report(read_rows(TABLE), LEARNERS, GYMNASIUM, DM_CONTROL, TABLE.parent)
        print("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    in_one_line(main)
