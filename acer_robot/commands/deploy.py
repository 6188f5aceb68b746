"""`acer-deploy`: run an exported policy at its control rate, as on a robot, and print how it kept its deadlines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acer_robot.commands.compose import run_command
from acer_robot.deployment.control_loop import Controller, LoopOptions
from acer_robot.deployment.pacing import Pacer, percentiles, stop_key
from acer_robot.policies.exported.file import load_exported
from acer_robot.schema import MISSING, ShownTask, check_range
from acer_robot.spec import check_same_robot
from acer_robot.tasks import make_task, with_velocity

_STATUS = {"Ctrl-C": 130, "SIGTERM": 143, "SIGHUP": 129}
"""Exit status where a signal ended the loop."""


@dataclass
class DeployConfig:
    """Options of `acer-deploy`."""

    policy: str = MISSING
    """An exported policy.pt."""
    episodes: int = 1
    """Episodes to run, one after the other."""
    seed: int = 0
    """Seed of the first episode, and of the noise."""
    rate: float = 1.0
    """Speed as a multiple of real time; 0: as fast as possible, without deadlines."""
    max_steps: int | None = None
    """Commands after which an episode stops; null: it runs to its end."""
    observation_noise: float = 0.0
    """Standard deviation of Gaussian noise on every entry of the observation, in the unit of that entry."""
    task: ShownTask = field(default_factory=ShownTask)
    """What is changed of the policy's task."""
    action_delay: int = 0
    """Delay of every command, in control steps. Until the first one arrives, the simulator gets the command at rest."""


def deploy(config: DeployConfig) -> dict[str, Any]:
    """Run an exported policy in its task, paced; return what `acer-deploy` prints as JSON.

    It reads the file, the hash in the policy.json beside it, and the task. It reads nothing else.

    Raises:
        InputError: if an option or the file cannot be used, or the task is not the one the file was made for.
    """
    check_job(config)
    policy = load_exported(Path(config.policy))
    task = make_task(with_velocity(policy.task_config, config.task.velocity), 1, config.seed)
    try:
        check_same_robot(policy.spec, task.spec)
        torch.set_num_threads(1)
        pacer = Pacer(task.spec.control_dt / config.rate if config.rate > 0.0 else 0.0)
        options = LoopOptions(
            config.episodes, config.seed, config.max_steps, config.observation_noise, config.action_delay
        )
        controller = Controller(policy, task, options)
        with stop_key() as stop:
            outcome = controller.run(pacer, stop)
    finally:
        task.close()
    return {
        "returns": outcome.returns,
        "lengths": outcome.lengths,
        "stopped": outcome.stopped,
        "control_dt": task.spec.control_dt,
        "rate": config.rate,
        "commands": len(outcome.latencies),
        "deadline_misses": pacer.misses if config.rate > 0.0 else None,
        "jitter_us": percentiles(pacer.lateness),
        "latency_us": percentiles(outcome.latencies),
    }


def check_job(config: DeployConfig) -> None:
    """Raise InputError for an option that cannot be used."""
    check_range("episodes", config.episodes, 1, 1_000_000)
    check_range("seed", config.seed, 0, 2**31 - 1)
    check_range("action_delay", config.action_delay, 0, 10_000)
    largest = float(np.finfo(np.float32).max)
    check_range("rate", config.rate, 0.0, largest)
    check_range("observation_noise", config.observation_noise, 0.0, largest)
    if config.max_steps is not None:
        check_range("max_steps", config.max_steps, 1, 1e12)


def _deploy(config: DeployConfig) -> None:
    summary = deploy(config)
    for index, (value, length) in enumerate(zip(summary["returns"], summary["lengths"], strict=True)):
        print(f"episode {index}: return {value:.1f}, {length} commands")
    if summary["stopped"]:
        print(f"stopped by {summary['stopped']}")
    if summary["deadline_misses"] is not None:
        print(f"missed {summary['deadline_misses']} of {summary['commands']} deadlines")
    for name in ("jitter_us", "latency_us"):
        if summary[name]:
            print(name, ", ".join(f"{key} {value}" for key, value in summary[name].items()))
    print(json.dumps(summary))
    if summary["stopped"] in _STATUS:
        raise SystemExit(_STATUS[summary["stopped"]])


def main() -> None:
    """Run `acer-deploy`."""
    run_command("deploy", DeployConfig, _deploy)


if __name__ == "__main__":
    main()
