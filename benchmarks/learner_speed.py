"""Replayed transitions per second of the learner alone, beside the peak of the matrix multiplications it is made of.

    python benchmarks/learner_speed.py [device]

Run it on an otherwise idle machine. Each row: threads, transitions per update, critics, compiled or not; the median and
the quartiles of the time over updates; the share of the matrix-multiply peak that the update's own floating-point
operations reach.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.learner import Learner
from acer_robot.schema import LearnerConfig

OBSERVATIONS, JOINTS, ENVIRONMENTS, STEPS = 17, 6, 16, 1000
"""The sizes of HalfCheetah-v5."""
SECONDS = 2.5
ON_CPU = ((16, 1), (16, 2), (32, 1), (32, 2))
ON_CUDA = ((4, 2), (16, 2), (64, 2), (256, 2), (1024, 2))
"""Segments in an update, and critics."""


def filled_replay(segment_length: int, device: torch.device) -> Replay:
    """Return a replay with random contents."""
    replay = Replay(STEPS * ENVIRONMENTS, ENVIRONMENTS, OBSERVATIONS, JOINTS, segment_length, device)

    def normal(*shape: int):
        return torch.randn(ENVIRONMENTS, *shape, device=device)

    for _ in range(STEPS):
        ends = torch.rand(ENVIRONMENTS, device=device) < 0.001
        std = torch.full((ENVIRONMENTS, JOINTS), -0.7, device=device)
        observations, successors, actions = normal(OBSERVATIONS), normal(OBSERVATIONS), 0.5 * normal(JOINTS)
        replay.add(
            Trajectory(observations, successors, actions, normal(), ends, ends, torch.zeros_like(std), std)
        )
    return replay


def seconds_per_call(call, device: torch.device) -> list[float]:
    """Time `call` again and again for some seconds, twice at the least, after a warm-up."""
    for _ in range(20):
        call()
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return times


def matmul_peak(rows: int, device: torch.device) -> float:
    """Return floating-point operations per second of [rows, 256] x [256, 256]."""
    a, b = torch.randn(rows, 256, device=device), torch.randn(256, 256, device=device)
    return 2 * rows * 256 * 256 / statistics.median(seconds_per_call(lambda: a @ b, device))


class _Whole(contextlib.nullcontext):
    """Stands in for the tracking of modules, which nobody asks for here and which fails where no_grad is on."""

    parents = ("Global",)


def operations(options: LearnerConfig, replay: Replay, device: torch.device) -> int:
    """Return the floating-point operations of an update, counted uncompiled, which is the same mathematics."""
    eager = Learner(dataclasses.replace(options, compile=False), OBSERVATIONS, JOINTS, device)
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Whole()
    with counter:
        eager.update(replay.sample(options.segments))
    return counter.get_total_flops()


def measure(options: LearnerConfig, device: torch.device) -> str:
    """Return the row of one setting, but for the number of threads."""
    replay = filled_replay(options.segment_length, device)
    learner = Learner(options, OBSERVATIONS, JOINTS, device)
    times = seconds_per_call(lambda: learner.update(replay.sample(options.segments)), device)
    rows = options.segments * options.segment_length
    low, median, high = statistics.quantiles(times, n=4)
    share = operations(options, replay, device) / median / matmul_peak(rows, device)
    kind = "compiled" if options.compile else "eager"
    return (
        f"{rows:11}  {options.critics:7}  {kind:8}  {median * 1e3:6.2f} ({low * 1e3:.2f} to {high * 1e3:.2f})"
        f"  {rows / median:16,.0f}  {share:13.0%}"
    )


def main() -> None:
    """Print the table."""
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")
    length = LearnerConfig().segment_length
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(f"torch {torch.__version__}, {name}, 2x256, segments of {length}, HalfCheetah-v5's sizes")
    print("threads  transitions  critics  update    ms/update (quartiles)   transitions/s  of matmul peak")
    for threads in (1, 2) if device.type == "cpu" else (1,):
        torch.set_num_threads(threads)
        for compiled in (False, True):
            for segments, critics in ON_CPU if device.type == "cpu" else ON_CUDA:
                options = LearnerConfig(segments=segments, critics=critics, compile=compiled)
                print(f"{threads:7}  {measure(options, device)}", flush=True)


if __name__ == "__main__":
    main()
