"""What a run says of itself before its first step, and what to type after its last."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from acer_robot.experience.update_counter import updates_per_transition
from acer_robot.memory import free_memory
from acer_robot.run_folder.replay_files import COPIED, FILE_BYTES
from acer_robot.schema import TrainConfig
from acer_robot.shell import typed
from acer_robot.spec import TaskSpec

MIB = 2**20
_PRODUCTS = {
    "float32": "",
    "onednn": "; matrix products by oneDNN, which is faster here",
    "bf16": "; matrix products by oneDNN in bfloat16",
}


@dataclass(frozen=True)
class Sizes:
    """A run, and the bytes that its parts take."""

    config: TrainConfig
    spec: TaskSpec
    step: int
    """Environment steps so far, of a run that goes on."""
    weights: int
    """Weights of the trained networks."""
    learner: int
    """State of the learner in a checkpoint, with the replay's priorities."""
    replay: int
    """A full replay on disk."""
    memory: int
    """A full replay in memory."""


def start_block(sizes: Sizes) -> list[str]:
    """Return some lines on task, sizes, and what the run will take in memory, disk and time."""
    config, spec, options = sizes.config, sizes.spec, sizes.config.learner
    left = max(0, config.steps - sizes.step)
    updates = left / config.task.action_repeat * updates_per_transition(options)
    begin = f" (goes on at step {sizes.step:,})" if sizes.step else ""
    compiled = ", compiled at the first update, which then takes some 30 s" if options.compile else ""
    if config.device != "cpu":
        compiled = ", recorded as a CUDA graph" if options.compile else ""
    return [
        f"task: {spec.id}, {_count(spec.observation_size, 'observation')}, {_count(spec.action_size, 'command')} every "
        f"{1000 * spec.control_dt:g} ms; {_count(config.num_envs, 'environment')}",
        f"run: {config.steps:,} environment steps{begin}, an evaluation of {_count(config.eval_episodes, 'episode')} "
        f"every {config.eval_every:,}; in {config.run_dir}",
        f"learner: {_weights(sizes.weights // 4)} on {config.device} with threads={config.threads}"
        f"{compiled}{_PRODUCTS[options.precision]}",
        memory_needed(sizes),
        disk_needed(sizes),
        f"time: about {updates:,.0f} updates; the lines below estimate what is left once the learner updates",
    ]


def _count(number: int, name: str) -> str:
    """Return "1 command" or "2 commands"."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _weights(number: int) -> str:
    """Return "850 weights" or "2.00 million weights"."""
    return f"{number / 1e6:,.2f} million weights" if number >= 1e5 else f"{number:,} weights"


def memory_needed(sizes: Sizes) -> str:
    """Say how much memory replay, learner and the copies of both for a checkpoint take at most."""
    rows = min(COPIED * FILE_BYTES, sizes.replay) if sizes.config.checkpoint.replay else 0
    copies = sizes.learner + rows
    needed, free = sizes.learner + sizes.memory + copies, free_memory()
    of = (
        "" if free is None or sizes.config.device != "cpu" else f" of the {free / MIB:,.0f} MiB that are free"
    )
    return (
        f"memory: up to {needed / MIB:,.0f} MiB{of} for replay ({sizes.memory / MIB:,.0f}), learner "
        f"({sizes.learner / MIB:,.0f}) and copies for a checkpoint ({copies / MIB:,.0f}), beside libraries and "
        "simulator"
    )


def disk_needed(sizes: Sizes) -> str:
    """Say how much room checkpoints may take, and how much there is."""
    options = sizes.config.checkpoint
    needed = (options.keep + 3) * sizes.learner + (sizes.replay if options.replay else 0)
    free = shutil.disk_usage(sizes.config.run_dir).free
    short = "; make room, or set checkpoint.replay=false" if needed > free else ""
    return f"disk: checkpoints take up to {needed / MIB:,.0f} MiB of the {free / MIB:,.0f} MiB that are free{short}"


def next_commands(run_dir: Path, config: TrainConfig) -> list[str]:
    """Return the commands that fit the run folder now, each with what it does."""
    run = typed("run", run_dir)
    commands = []
    is_exported = (run_dir / "export/policy.pt").is_file()
    if is_exported and config.hand_over:
        commands = [
            (f"acer-eval {typed('policy', run_dir)}", "its return over more episodes"),
            (f"acer-deploy {typed('policy', run_dir)}", "run it at its control rate"),
            (
                f"acer-render {run} {typed('out', run_dir / 'videos/overlay.mp4')} overlay=true",
                "a film with its numbers",
            ),
        ]
    else:
        older = "; the one in export/ is of before" if is_exported else ""
        commands = [(f"acer-export {run}", f"write and verify the policy file{older}")]
    commands += [
        (f"acer-report {run}", "write report.html again"),
        (f"acer-train {typed('resume', run_dir)} steps={2 * config.steps}", "train for longer"),
    ]
    width = max(len(command) for command, _ in commands)
    return ["next:", *(f"  {command:<{width}}  # {what}" for command, what in commands)]
