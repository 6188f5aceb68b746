"""Environment steps per second of many worlds: batch, SyncVectorEnv, EnvPool, bare mj_step and warp, in turn.

    python benchmarks/many_worlds.py [--task HalfCheetah-v5] [--worlds 256] [--threads 1] [--rounds 5] [--seconds 3]

Each round runs every contender for so many seconds, so that what else runs on the machine meets all alike. A row gives
the median of the rounds with their range. `learner` rows train besides, with a small network that is updated rarely.
Run it on an otherwise idle machine. It lasts some two minutes with these numbers. mujoco_warp needs a GPU and the extra
`warp`, EnvPool its package (`pip install envpool`), and both are left out with a line without them. EnvPool's tasks are
those of Gymnasium's version 4, former versions of the same robots.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import torch
from driving.fresh_policy import machine
from rows.command_line import positive
from timing.bare_run import bare_run

from acer_robot.memory import used_memory
from acer_robot.schema import LearnerConfig, TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor.known import GYMNASIUM

Step = Callable[[], int]
"""Does some environment steps and returns how many."""


def bare(task_id: str, threads: int) -> Step:
    """Return steps of bare mj_step, one world a thread: what no vector environment can exceed."""
    task = GYMNASIUM[task_id]()
    worlds = [mujoco.MjData(task.model) for _ in range(threads)]
    for number, data in enumerate(worlds):
        data.ctrl[:] = np.random.default_rng(number).uniform(task.bounds.low, task.bounds.high)
    pool = ThreadPoolExecutor(threads)
    steps = 50

    def one(data: mujoco.MjData) -> None:
        mujoco.mj_step(task.model, data, nstep=steps * task.frame_skip)

    def step() -> int:
        list(pool.map(one, worlds))
        return steps * threads

    return step


def simulated(task_id: str, backend: str, worlds: int, device: torch.device) -> Step:
    """Return steps of a task with random commands, without a learner."""
    task = make_task(TaskConfig("gymnasium", task_id, backend=backend), worlds, 0, training_on=device)
    task.reset()
    low, high = (
        torch.tensor(limit, device=task.device) for limit in (task.spec.bounds.low, task.spec.bounds.high)
    )

    def step() -> int:
        task.step(low + torch.rand(worlds, len(low), device=task.device) * (high - low))
        if task.device.type == "cuda":
            torch.cuda.synchronize()
        return worlds

    return step


def pooled(task_id: str, worlds: int, threads: int) -> Step:
    """Return steps of EnvPool with random commands."""
    import envpool

    pool = envpool.make_gymnasium(task_id.replace("-v5", "-v4"), num_envs=worlds, num_threads=threads, seed=0)
    pool.reset()
    random, space = np.random.default_rng(0), pool.action_space

    def step() -> int:
        pool.step(random.uniform(space.low, space.high, (worlds, *space.shape)).astype(space.dtype))
        return worlds

    return step


def trained(task_id: str, backend: str, worlds: int, device: torch.device, threads: int) -> Step:
    """Return steps of a whole run with a cheap learner: 2 x 64 units, replay ratio 1."""
    learner = LearnerConfig(
        hidden=[64, 64],
        advantage_hidden=32,
        replay_ratio=1.0,
        segments=64,
        learning_starts=8 * worlds,
        compile=False,
    )
    run = bare_run(TaskConfig("gymnasium", task_id, backend=backend), learner, device, worlds, threads)

    def step() -> int:
        run.collector.step()
        run.update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return worlds

    return step


def contenders(task_id: str, worlds: int, threads: int) -> dict[str, Step]:
    """Return what is measured on this machine, and print what each takes in memory."""
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    makers: dict[str, Callable[[], Step]] = {
        f"bare mj_step, {threads} threads": lambda: bare(task_id, threads),
        "SyncVectorEnv": lambda: simulated(task_id, "cpu", worlds, cpu),
        "batch": lambda: simulated(task_id, "batch", worlds, cpu),
        "SyncVectorEnv, learner": lambda: trained(task_id, "cpu", worlds, cpu, threads),
        "batch, learner": lambda: trained(task_id, "batch", worlds, cpu, threads),
    }
    if importlib.util.find_spec("envpool") is not None:
        makers["EnvPool"] = lambda: pooled(task_id, worlds, threads)
    else:
        print("EnvPool: left out, as the package envpool is not installed")
    if torch.cuda.is_available() and importlib.util.find_spec("mujoco_warp") is not None:
        gpu = torch.device("cuda")
        makers["warp"] = lambda: simulated(task_id, "warp", worlds, gpu)
        makers["warp, learner"] = lambda: trained(task_id, "warp", worlds, gpu, threads)
    else:
        print("warp: left out, as it needs a GPU and the extra warp")
    found = {}
    for name, make in makers.items():
        before = used_memory() or 0
        try:
            found[name] = make()
        except (ImportError, OSError) as error:  # a package that is there and does not load
            print(f"{name}: left out, as it does not load: {error}")
            continue
        print(f"{name}: {((used_memory() or 0) - before) / 2**20:,.0f} MiB of main memory")
    return found


def rate(step: Step, seconds: float) -> float:
    """Return environment steps per second."""
    step()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        steps += step()
    return steps / (time.perf_counter() - start)


def table(rates: dict[str, list[float]]) -> str:
    """Return one row a contender: median and range of its environment steps per second."""
    lines = ["| contender | environment steps/s | range |", "|---|---|---|"]
    lines += [
        f"| {name} | {statistics.median(found):,.0f} | {min(found):,.0f} to {max(found):,.0f} |"
        for name, found in rates.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure in turn and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="HalfCheetah-v5", choices=list(GYMNASIUM))
    parser.add_argument("--worlds", type=positive, default=256)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    steps = contenders(options.task, options.worlds, options.threads)
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            rates[name].append(rate(step, options.seconds))
    print(
        f"\n{options.task}, {options.worlds} worlds, {options.threads} threads; {machine()}\n\n{table(rates)}"
    )


if __name__ == "__main__":
    main()
