"""Environment steps a second of collecting and learning, ours beside Stable-Baselines3's SAC, and the peak of memory.

    cd benchmarks && python -m timing.speed_run CONTENDER STEPS [--eager]    (what speed.py calls to measure memory)

It prints the peak of the memory that a process with this contender alone takes, and the size of its replay once full.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from timing.bare_run import bare_run
from timing.blocks import in_turn, ratio, spread
from timing.fresh_learner import can_compile, learner_options
from timing.speed_update import DEFAULT, SAC, SAC_STATES, SETTINGS

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig

TASK = "HalfCheetah-v5"
ENVIRONMENTS = 16
STEPS_FOR_MEMORY = 320
"""Environment steps before the peak of memory is read."""
EQUAL = ["learner.replay_ratio=256"]
OURS = {
    "learner.embedding=0, 128 replayed a step": [],
    "learner.embedding=0, 256 replayed a step": EQUAL,
    f"{DEFAULT}, 256 replayed a step": [*EQUAL, *SETTINGS[DEFAULT]],
}
"""SAC replays 256 transitions for each step of the environment, the learner by itself half as many."""


class Going(NamedTuple):
    """A training that has begun to learn."""

    advance: Callable[[], object]
    """Does ENVIRONMENTS environment steps and the updates that are due."""
    full_replay: int
    """Bytes of a replay of a million transitions."""


def ours(words: list[str], device: torch.device, compiling: bool, num_envs: int = ENVIRONMENTS) -> Going:
    """Return a run of acer-train without evaluation, logging and checkpoints."""
    learner = dataclasses.replace(learner_options(words), compile=compiling, learning_starts=8 * num_envs)
    run = bare_run(TaskConfig("gymnasium", TASK), learner, device, num_envs, torch.get_num_threads())

    def advance() -> None:
        run.collector.step()
        run.update()

    for _ in range(9):
        run.collector.step()
    return Going(advance, run.replay.memory_bytes // run.replay.capacity // num_envs * 10**6)


def sac(device: torch.device) -> Going:
    """Return a training of Stable-Baselines3's SAC as benchmarks/peers.py does it, but that it learns at once."""
    from peers import build

    model = build("sac", TASK, 0, str(device))
    model.learning_starts = SAC_STATES
    model.learn(SAC_STATES)
    buffer = model.replay_buffer
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    stored = sum(getattr(buffer, name).nbytes for name in names)
    return Going(
        lambda: model.learn(ENVIRONMENTS, reset_num_timesteps=False), stored * 10**6 // buffer.buffer_size
    )


def contender(name: str, device: torch.device, compiling: bool) -> Going:
    """Return the contender called `name`.

    Raises:
        InputError: if there is none.
    """
    if name not in (*OURS, SAC):
        raise InputError(f"{name!r} is no contender; choose one of {', '.join([*OURS, SAC])}")
    return sac(device) if name == SAC else ours(OURS[name], device, compiling)


def end_to_end(options: argparse.Namespace, device: torch.device) -> str:
    """Measure; return the table and what it means."""
    compiling = not options.eager and can_compile(device)
    names = list(OURS)
    if importlib.util.find_spec("stable_baselines3") is not None:
        names.append(SAC)
    else:
        print(f"left out: {SAC}; pip install -e '.[benchmarks]'", flush=True)
    memory = {name: peak_memory(name, options, compiling) for name in names}
    calls = {name: contender(name, device, compiling).advance for name in names}
    times = in_turn(calls, options.rounds, options.block, device)
    return table(times, memory)


def table(times: dict[str, list[float]], memory: dict[str, tuple[int, int]]) -> str:
    """Return one row a contender."""
    lines = [
        f"| training | environment steps/s | times {SAC} | peak of memory, MiB | replay of 10^6 once full, MiB |",
        "|---|---|---|---|---|",
    ]
    for name, here in times.items():
        rate = spread([ENVIRONMENTS / seconds for seconds in here])
        faster = ratio(times[SAC], here).shown(".2f") if SAC in times else "not run"
        peak, full = (f"{size / 2**20:,.0f}" for size in memory[name])
        lines.append(f"| {name} | {rate.shown(',.0f')} | {faster} | {peak} | {full} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{TASK}: simulation, acting, replay and updates, without evaluation, logs and checkpoints. Ours steps "
            f"{ENVIRONMENTS} environments together, SAC one. SAC has the settings of benchmarks/peers.py, one update "
            f"of {SAC_STATES} states a step. Equal replayed transitions: the rows with 256. The peak is that of a "
            f"process of its own after {STEPS_FOR_MEMORY:,} environment steps, compiling included; it hardly holds "
            "any replay yet, so the last column comes on top.",
        ]
    )


def peak_memory(name: str, options: argparse.Namespace, compiling: bool) -> tuple[int, int]:
    """Return bytes of a process of its own at their peak, and of a full replay."""
    words = [name, str(STEPS_FOR_MEMORY), "--device", options.device, "--threads", str(options.threads)]
    done = subprocess.run(
        [sys.executable, "-m", "timing.speed_run", *words, *([] if compiling else ["--eager"])],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.returncode != 0:
        raise InputError(f"the process that measures {name}'s memory failed: {done.stderr.strip()[-300:]}")
    peak, full = json.loads(done.stdout.splitlines()[-1])
    return peak, full


def peak_of_this_process() -> int:
    """Return the peak of this process's main memory in bytes, since it was started (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def main() -> None:
    """Run one contender and print its memory as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*OURS, SAC])
    parser.add_argument("steps", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eager", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    going = contender(options.name, torch.device(options.device), compiling=not options.eager)
    for _ in range(-(-options.steps // ENVIRONMENTS)):
        going.advance()
    print(json.dumps([peak_of_this_process(), going.full_replay]))


if __name__ == "__main__":
    main()
