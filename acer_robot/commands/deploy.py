"""`acer-deploy`: run an exported policy at its control rate, as on a robot, and print how it kept its deadlines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from acer_robot.commands.compose import run_command
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.realtime import RealTimeOptions, check_realtime
from acer_robot.errors import InputError
from acer_robot.run_folder.policy_path import given_policy
from acer_robot.schema import ShownTask, check_range

LARGEST = 3.4028234663852886e38
"""The largest number of float32."""
_STATUS = {"Ctrl-C": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140}
"""Exit status where a signal ended the loop."""
MOST = {
    "ramp_rate": 1e6, "ramp_in": 86_400.0, "hold": 86_400.0, "start_limit": 86_400.0, "age_limit": 86_400.0,
    "late_factor": 1e6, "late_ticks": 10**12, "nan_ticks": 10**12, "frozen_ticks": 10**12,
    "far_ticks": 10**12,
}  # fmt: skip
"""Highest values of safety.*; beyond them a limit protects nothing."""


@dataclass
class DeployConfig:
    """Options of `acer-deploy`."""

    policy: str | None = None
    """An exported policy.pt, a run folder or its export/."""
    run: str | None = None
    """A run folder, whose export/policy.pt is run."""
    episodes: int = 1
    """Episodes to run, one after the other."""
    seed: int = 0
    """Seed of the first episode, and of the noise."""
    rate: float = 1.0
    """Speed as a multiple of real time; 0: as fast as possible, without deadlines."""
    max_steps: int | None = None
    """Control steps after which an episode stops, with those of waiting for a robot; null: it runs to its end."""
    observation_noise: float = 0.0
    """Standard deviation of Gaussian noise on every entry of the observation, in the unit of that entry."""
    task: ShownTask = field(default_factory=ShownTask)
    """What is changed of the policy's task."""
    command_delay: int = 0
    """Delay of every command, in control steps. Until the first one arrives, the simulator gets the command at rest."""
    plant: str | None = None
    """A robot of your own: module:function, whose result has connect, read, write and close (docs/driving.md). The
    safety layer is always on for it. null: the simulator."""
    ramp: bool = False
    """Whether the safety layer is on in the simulator as well: ramp-in, watchdogs and safe stop."""
    log: str | None = None
    """CSV file for observation, command, state and cause of every tick; null: none. The safety layer writes it."""
    safety: Options = field(default_factory=Options)
    """Limits of the safety layer."""
    realtime: RealTimeOptions = field(default_factory=RealTimeOptions)
    """What the operating system is asked for, with the safety layer."""


def deploy(config: DeployConfig) -> dict[str, Any]:
    """Run an exported policy in its task, paced; return what `acer-deploy` prints as JSON.

    It reads the file, the hash in the policy.json beside it, and the task. It reads nothing else.

    Raises:
        InputError: if an option or the file cannot be used, or the task is not the one the file was made for.
    """
    import torch

    from acer_robot.deployment.control_loop import Controller, LoopOptions
    from acer_robot.deployment.pacing import Pacer, percentiles, stop_key
    from acer_robot.policies.exported.file import load_exported
    from acer_robot.spec import check_same_robot
    from acer_robot.tasks import make_task, with_velocity

    check_job(config)
    policy = load_exported(given_policy(config.policy, config.run))
    if config.plant is not None or config.ramp:
        from acer_robot.deployment.drive_job import DriveJob, drive

        return drive(DriveJob(**{each.name: getattr(config, each.name) for each in fields(DriveJob)}), policy)
    task = make_task(with_velocity(policy.task_config, config.task.velocity), 1, config.seed)
    try:
        check_same_robot(policy.spec, task.spec)
        torch.set_num_threads(1)
        pacer = Pacer(task.spec.control_dt / config.rate if config.rate > 0.0 else 0.0)
        options = LoopOptions(
            config.episodes, config.seed, config.max_steps, config.observation_noise, config.command_delay
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
    check_range("command_delay", config.command_delay, 0, 10_000)
    check_range("rate", config.rate, 0.0, LARGEST)
    check_range("observation_noise", config.observation_noise, 0.0, LARGEST)
    if config.max_steps is not None:
        check_range("max_steps", config.max_steps, 1, 1e12)
    check_realtime(config.realtime)
    for name, most in MOST.items():
        if (value := getattr(config.safety, name)) is not None and value > most:
            raise InputError(f"safety.{name}={value} is out of range; expected at most {most:g}")
    if config.plant is None and not config.ramp:
        _check_layer_options(config)
    if config.plant is not None:
        _check_plant_options(config)


def _check_layer_options(config: DeployConfig) -> None:
    """Raise InputError for an option of the safety layer, which is not used."""
    given = ["log=..."] if config.log is not None else []
    for group in ("safety", "realtime"):
        part = getattr(config, group)
        given += [
            f"{group}.{each.name}={value}"
            for each in fields(part)
            if (value := getattr(part, each.name)) != getattr(type(part)(), each.name)
        ]
    if given:
        raise InputError(f"{given[0]} needs the safety layer; add ramp=true, or give a plant")


def _check_plant_options(config: DeployConfig) -> None:
    """Raise InputError for an option that only the simulator has."""
    defaults = DeployConfig()
    if config.task != defaults.task:
        raise InputError(
            f"task.velocity={list(config.task.velocity or ())} is for the simulator; the read() of a plant gives the "
            "velocity that is commanded: remove it"
        )
    for name in ("episodes", "seed", "rate", "observation_noise", "command_delay"):
        if getattr(config, name) != getattr(defaults, name):
            raise InputError(
                f"{name}={getattr(config, name)} is for the simulator; a plant has none: remove it"
            )


def _deploy(config: DeployConfig) -> None:
    summary = deploy(config)
    for index, (value, length) in enumerate(
        zip(summary.get("returns", ()), summary.get("lengths", ()), strict=True)
    ):
        print(f"episode {index}: return {value:.1f}, {length} commands")
    if summary["stopped"]:
        reason = f": {summary['reason']}" if summary.get("reason") else ""
        print(f"stopped by {summary['stopped']}{reason}")
    elif summary.get("reason"):
        print(f"after the end: {summary['reason']}")
    if summary.get("far_observations"):
        print(f"{summary['far_observations']} observations were beyond the range that training saw")
    if summary["deadline_misses"] is not None:
        print(f"missed {summary['deadline_misses']} of {summary['commands']} deadlines")
    for name in ("jitter_us", "latency_us"):
        if summary[name]:
            print(name, ", ".join(f"{key} {value}" for key, value in summary[name].items()))
    print(json.dumps(summary))
    if status := exit_status(summary):
        raise SystemExit(status)


def exit_status(summary: dict[str, Any]) -> int:
    """Return the exit status: 0 at the end or by `q`, 128 + signal, and 1 for every other cause and for an error."""
    if "cause" not in summary:
        return _STATUS.get(summary["stopped"], 0)
    if summary["cause"] in ("stop", "second_stop", "emergency") and summary["signal"] is not None:
        return 128 + int(summary["signal"])
    as_asked = summary["cause"] in ("stop", "second_stop") or (
        summary["cause"] == "end" and not summary.get("reason")
    )
    return 0 if as_asked else 1


def main() -> None:
    """Run `acer-deploy`."""
    run_command("deploy", DeployConfig, _deploy)


if __name__ == "__main__":
    main()
