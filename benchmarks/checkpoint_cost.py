"""What checkpoints cost a run: seconds of each, share of the wall-clock at one in five minutes, and seconds to resume.

    python benchmarks/checkpoint_cost.py [--transitions 1000000] [--speed 500] [--task HalfCheetah-v5]

It fills a replay with random rows, writes the first checkpoint, then one after as many steps as `--speed` (environment
steps a second) collects in five minutes, with and without the replay, and restores a run from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from acer_robot.run_folder.layout import create_run_dir
from acer_robot.schema import CheckpointConfig, TaskConfig, TrainConfig
from acer_robot.training.resume import newest_point, restore_run
from acer_robot.training.run import Run, prepare

INTERVAL = 300.0
"""Seconds between two checkpoints, as by default."""


def main() -> None:
    """Print a table: with and without the replay."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--speed", type=float, default=500.0)
    parser.add_argument("--task", default="HalfCheetah-v5")
    options = parser.parse_args()
    print("| replay | first checkpoint, s | one in five minutes, s | share of wall-clock | resume, s |")
    print("|---|---|---|---|---|")
    for with_replay in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig(
                TaskConfig("gymnasium", options.task),
                steps=options.transitions,
                run_dir=str(Path(folder) / "run"),
                checkpoint=CheckpointConfig(replay=with_replay),
            )
            config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, compile=False))
            first, later, resumed = cost(config, options.speed)
        share = f"{100.0 * later / INTERVAL:.2f} %"
        print(
            f"| {'yes' if with_replay else 'no'} | {first:.2f} | {later:.2f} | {share} | {resumed:.2f} |",
            flush=True,
        )


def cost(config: TrainConfig, speed: float) -> tuple[float, float, float]:
    """Return the seconds of the first checkpoint, of a later one, and of going on from it."""
    run = prepare(config)
    create_run_dir(run.config)
    fill(run, run.replay.capacity)
    run.learner.update(run.replay.sample(config.learner.segments))
    first = seconds_of_checkpoint(run)
    fill(run, max(1, int(speed * INTERVAL) // config.num_envs))
    later = seconds_of_checkpoint(run)
    run.task.close()
    run.evaluation_task.close()
    begun = time.perf_counter()
    again = prepare(run.config, resuming=True)
    restore_run(again, newest_point(Path(config.run_dir)))
    seconds = time.perf_counter() - begun
    again.task.close()
    again.evaluation_task.close()
    return first, later, seconds


def seconds_of_checkpoint(run: Run) -> float:
    """Write a checkpoint and return how long it took."""
    begun = time.perf_counter()
    run.check()
    run.checkpoint({"wandb": None})
    return time.perf_counter() - begun


def fill(run: Run, count: int) -> None:
    """Add `count` random rows to the replay."""
    state = run.replay.state()
    shape = run.replay.row_bytes // 4 // run.replay.num_envs

    def rows() -> Iterator[torch.Tensor]:
        yield from run.replay.rows(run.replay.oldest, run.replay.capacity)
        for first in range(0, count, 1000):
            yield torch.randn(min(1000, count - first), run.replay.num_envs, shape)

    run.replay.restore(state | {"added": state["added"] + count}, [part.clone() for part in rows()])


if __name__ == "__main__":
    main()
