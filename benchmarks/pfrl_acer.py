"""PFRL 0.4.0's continuous ACER against `learner=paper`: equal hyper-parameters, returns and CPU time in one run.

    pip install -e '.[benchmarks]'
    python benchmarks/pfrl_acer.py run [--seeds 3] [--tasks Pendulum-v1 HalfCheetah-v5]
    python benchmarks/pfrl_acer.py report

`run` adds a row to benchmarks/results/pfrl.csv for every run that has none, and takes the contenders in turn, one seed
of each, so that whatever else the machine does meets all alike. Seconds in this table are CPU seconds of the process
(user and system, all threads) from its first environment step on, without evaluation. `report` writes pfrl.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from reports.pfrl_report import OURS, PFRL, TABLE, write_report
from rows.command_line import in_one_line
from rows.runs import Run, need_extra, run_all
from rows.train_options import composed_train

from acer_robot.errors import InputError
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.layout import create_run_dir
from acer_robot.schema import TrainConfig, WandbConfig
from acer_robot.training.run import learn, prepare
from acer_robot.training.timing import Stopwatch
from acer_robot.training.validate import check_train


@dataclass(frozen=True)
class Case:
    """A task with the options that both learners take on it; what is not named is `learner=paper`'s."""

    task: str
    steps: int
    overrides: tuple[str, ...] = ()


COMMON = ("learner.poisson=false", "learner.replay_size=20000")
CASES = (
    Case(
        "Pendulum-v1",
        12_000,
        ("learner.gamma=0.95", "learner.lr=0.001", "learner.segment_length=10", "learner.replay_ratio=16"),
    ),
    Case(
        "HalfCheetah-v5",
        30_000,
        ("learner.lr=0.0005", "learner.segment_length=16", "learner.replay_ratio=8"),
    ),
    Case("HalfCheetah-v5", 10_000),
)
"""The last has the paper's k = 50 and four replays, for the speed: with these neither task is learnt in a time that
PFRL can be given. The others make three to five times as many updates of the transitions that they replay."""
CONTENDERS = ((PFRL, 1), (OURS, 1), (OURS, 16))
"""Learner and environments: PFRL has one; ours with one as well, and with as many as it has by default."""


class Contender(Run):
    """A run of this script's `train`, which counts CPU seconds."""

    def arguments(self) -> list[str]:
        """Return what follows `python`: the options of acer-train, for both learners."""
        task = ("task=gym", f"task.id={self.task}")
        common = Run(self.task, "paper", self.seed, self.steps, self.overrides, self.eval_every).arguments()
        options = [word for word in common[2:] if not word.startswith("task=")]
        return ["benchmarks/pfrl_acer.py", "train", self.learner, *task, *options]


def plan(seeds: int, tasks: list[str]) -> list[Run]:
    """Return the runs, all of seed 0 first, PFRL and ours in turn.

    Raises:
        InputError: for a task that no settings were chosen for.
    """
    known = {case.task for case in CASES}
    if unknown := [task for task in tasks if task not in known]:
        raise InputError(f"{', '.join(unknown)}: there are settings for {', '.join(sorted(known))} only")
    runs: list[Run] = []
    for seed in range(seeds):
        for case in (case for case in CASES if case.task in tasks):
            for learner, envs in CONTENDERS:
                overrides = (f"num_envs={envs}", *COMMON, *case.overrides)
                runs.append(Contender(case.task, learner, seed, case.steps, overrides, case.steps // 10))
    return runs


def train(learner: str, options: list[str]) -> None:
    """Train one contender with the options of acer-train; leave eval.csv in `run_dir`."""
    config = composed_train(*options)
    check_train(config)
    torch.set_num_threads(config.threads)
    if learner == OURS:
        train_ours(config)
        return
    from pfrl_adapter import train_pfrl  # ours needs no pfrl

    train_pfrl(config)


def train_ours(config: TrainConfig) -> None:
    """Learn as `acer-train` does, with a clock of CPU seconds, and hand nothing over."""
    run = prepare(config)
    run.watch = Stopwatch(time.process_time)
    with RunLogger(create_run_dir(config), WandbConfig("disabled"), {}, config.steps) as log:
        learn(run, log)
    run.task.close()
    run.evaluation_task.close()


def main() -> None:
    """Run, report, or train one contender."""
    parser = argparse.ArgumentParser(description="PFRL's continuous ACER against ours.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="do the runs that have no row yet")
    run.add_argument("--seeds", type=int, default=3)
    run.add_argument("--tasks", nargs="+", default=sorted({case.task for case in CASES}), metavar="ID")
    run.add_argument("--table", type=Path, default=TABLE)
    report = commands.add_parser("report", help="print and write the table")
    report.add_argument("--table", type=Path, default=TABLE)
    one = commands.add_parser("train", help="train one contender in this process")
    one.add_argument("learner", choices=(PFRL, OURS))
    one.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="options of acer-train")
    options = parser.parse_args()
    if options.command == "train":
        train(options.learner, options.options)
    elif options.command == "report":
        write_report(options.table)
    else:
        need_extra("pfrl")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        runs = plan(options.seeds, options.tasks)
        if left := run_all(runs, options.table):
            raise SystemExit(f"{left} runs were left without a row")


if __name__ == "__main__":
    in_one_line(main)
