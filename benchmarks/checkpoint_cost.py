"""What checkpoints cost a run, and how soon a run that goes on learns again.

    python benchmarks/checkpoint_cost.py [--transitions 1000000] [--speed 500] [--task HalfCheetah-v5]

A checkpoint stops training while its state is copied; a thread then writes it beside training. Both are measured after
as many new rows as `--speed` environment steps a second collect in five minutes. The share of the wall-clock counts
both, as if training stood still while the thread writes: it is an upper bound. The resume is that of a new process,
from its start to the end of its first update.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from acer_robot.run_folder.layout import create_run_dir
from acer_robot.schema import CheckpointConfig, TaskConfig, TrainConfig, WandbConfig
from acer_robot.training.run import Run, prepare

INTERVAL = 300.0
"""Seconds between two checkpoints, as by default."""
CHECKPOINTS = 3
"""How many are measured; the median counts."""
LIMITS = {False: 1.0, True: 5.0}
"""Per cent of the wall-clock that they may take, without and with the replay."""
RESUME_LIMIT = 15.0
"""Seconds that a resume may take."""
_RESUMED = """
import os
import sys
from acer_robot.learner.learner import Learner
from acer_robot.schema import TrainConfig
from acer_robot.training.resume import resumed_config
from acer_robot.training.run import train

update = Learner.update
def once(learner, batch):
    update(learner, batch)
    os._exit(0)
Learner.update = once
train(resumed_config(TrainConfig(resume=sys.argv[1]), []))
"""


def main() -> int:
    """Print a table: without and with the replay; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--speed", type=float, default=500.0)
    parser.add_argument("--task", default="HalfCheetah-v5")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| replay | first checkpoint, s | training stops, s | written beside, s | share of wall-clock | resume, s |"
    )
    print("|---|---|---|---|---|---|")
    good = True
    for with_replay in (False, True):
        with tempfile.TemporaryDirectory(prefix="acer-cost-") as folder:
            config = TrainConfig(
                TaskConfig("gymnasium", options.task),
                steps=options.transitions,
                run_dir=str(Path(folder) / "run"),
                checkpoint=CheckpointConfig(replay=with_replay),
                wandb=WandbConfig(mode="disabled"),
                hand_over=False,
                video=False,
            )
            learner = dataclasses.replace(config.learner, compile=False, learning_starts=1)
            run = prepare(dataclasses.replace(config, learner=learner))
            first, stopped, beside = cost(run, options.speed)
            resumed = seconds_to_first_update(Path(config.run_dir))
        share = 100.0 * (stopped + beside) / INTERVAL
        good = good and share < LIMITS[with_replay] and resumed < RESUME_LIMIT
        print(
            f"| {'yes' if with_replay else 'no'} | {first:.2f} | {stopped:.3f} | {beside:.2f} | {share:.2f} % (limit "
            f"{LIMITS[with_replay]:g} %) | {resumed:.1f} (limit {RESUME_LIMIT:g}) |",
            flush=True,
        )
    print("all limits are kept" if good else "a limit is exceeded")
    return 0 if good else 1


def cost(run: Run, speed: float) -> tuple[float, float, float]:
    """Return seconds of the first checkpoint; and for which a later one stops training, and is written beside it."""
    config = run.config
    create_run_dir(config)
    fill(run, run.replay.capacity)
    run.learner.update(run.replay.sample(config.learner.segments))
    first = sum(seconds_of_checkpoint(run))
    later = []
    for _ in range(CHECKPOINTS):
        fill(run, max(1, int(speed * INTERVAL) // config.num_envs))
        later.append(seconds_of_checkpoint(run))
    run.close()
    return first, *(statistics.median(part) for part in zip(*later, strict=True))  # type: ignore[return-value]


def seconds_of_checkpoint(run: Run) -> tuple[float, float]:
    """Write a checkpoint; return for how long it stopped this thread, and how long it then took beside it."""
    begun = time.perf_counter()
    run.check()
    run.checkpoint({"wandb": None})
    copied = time.perf_counter()
    run.writer.wait()
    return copied - begun, time.perf_counter() - copied


def fill(run: Run, count: int) -> None:
    """Add `count` random rows to the replay."""
    for first in range(0, count, 1000):
        run.replay.extend(torch.randn(min(1000, count - first), run.replay.num_envs, run.replay.row_width))


def seconds_to_first_update(run_dir: Path) -> float:
    """Return how long a new process takes from its start to its first update; its collected steps are the run's."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _RESUMED, str(run_dir)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
