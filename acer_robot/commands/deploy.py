"""`acer-deploy`: run an exported policy at its control rate, as on a robot, and print how it kept its deadlines."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acer_robot.commands.compose import run_command
from acer_robot.deployment.control_loop import Controller, LoopOptions
from acer_robot.deployment.drive import Drive, Driver, Timing
from acer_robot.deployment.drive_log import DriveLog
from acer_robot.deployment.limits import Limits, Options, limits_of_file
from acer_robot.deployment.pacing import Pacer, percentiles, pressed_key, stop_key
from acer_robot.deployment.plant import check_plant, load_plant
from acer_robot.deployment.realtime import RealTimeOptions, check_realtime, real_time, sleep
from acer_robot.deployment.stop_requests import StopRequests, counted_signals
from acer_robot.deployment.task_plant import TaskPlant
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import LoadedPolicy, load_exported
from acer_robot.schema import MISSING, check_range
from acer_robot.spec import check_same_robot
from acer_robot.tasks import make_task

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
    action_delay: int = 0
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
    check_job(config)
    policy = load_exported(Path(config.policy))
    if config.plant is not None:
        return _drive_plant(config, policy, config.plant)
    if config.ramp:
        return _drive_task(config, policy)
    task = make_task(policy.task_config, 1, config.seed)
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


def _drive_plant(config: DeployConfig, policy: LoadedPolicy, name: str) -> dict[str, Any]:
    """Drive somebody's own robot once."""
    limits = limits_of_file(policy.spec, policy.metadata, config.safety)
    plant = load_plant(name)
    check_plant(plant, policy.spec, policy.metadata.get("robot"))
    log = DriveLog(config.log, policy.spec)
    timing = Timing(Pacer(policy.spec.control_dt, time.monotonic, sleep))

    def run(requests: StopRequests) -> list[Drive]:
        driver = Driver(policy, plant, limits, log, requests, timing)
        return [driver.drive(_most_ticks(config, limits))]

    return _driven(config, limits, timing.pacer, run)


def _drive_task(config: DeployConfig, policy: LoadedPolicy) -> dict[str, Any]:
    """Drive the simulator, each episode as a drive of its own."""
    limits = limits_of_file(policy.spec, policy.metadata, config.safety)
    task = make_task(policy.task_config, 1, config.seed)
    try:
        check_same_robot(policy.spec, task.spec)
        timing = _simulated_time(config.rate, task.spec.control_dt)
        options = LoopOptions(
            seed=config.seed, observation_noise=config.observation_noise, action_delay=config.action_delay
        )
        plant = TaskPlant(task, options, timing.now)
        logs = [DriveLog(_log_of(config, episode), policy.spec) for episode in range(config.episodes)]
        returns: list[float] = []
        lengths: list[int] = []

        def run(requests: StopRequests) -> list[Drive]:
            drives = []
            for log in logs:
                driver = Driver(policy, plant, limits, log, requests, timing)
                drives.append(driver.drive(_most_ticks(config, limits), lambda: plant.ended))
                returns.append(plant.total)
                lengths.append(plant.length)
                if drives[-1].cause != "end":
                    break
            return drives

        found = _driven(config, limits, timing.pacer, run)
    finally:
        task.close()
    return {"returns": returns, "lengths": lengths, **found}


def _driven(
    config: DeployConfig, limits: Limits, pacer: Pacer, run: Callable[[StopRequests], list[Drive]]
) -> dict[str, Any]:
    """Run drives with signals, keys and real time; return what `acer-deploy` prints."""
    torch.set_num_threads(1)
    with pressed_key() as key, real_time(config.realtime) as refused:
        for line in refused:
            print(f"acer-deploy: {line}", file=sys.stderr)
        requests = StopRequests(key)
        with counted_signals(requests):
            drives = run(requests)
    latencies = [seconds for drive in drives for seconds in drive.latencies]
    last = drives[-1]
    return {
        "stopped": None if last.cause == "end" else last.cause,
        "cause": last.cause,
        "reason": last.reason,
        "signal": requests.signal,
        "log": config.log,
        "far_observations": sum(drive.far for drive in drives),
        "control_dt": limits.dt,
        "rate": config.rate,
        "commands": sum(drive.commands for drive in drives),
        "deadline_misses": pacer.misses if config.rate > 0.0 else None,
        "jitter_us": percentiles(pacer.lateness),
        "latency_us": percentiles(latencies),
    }


def _most_ticks(config: DeployConfig, limits: Limits) -> float:
    return math.inf if config.max_steps is None else config.max_steps


def _log_of(config: DeployConfig, episode: int) -> str | None:
    """Return the log of an episode: flight.csv, and then flight-1.csv, flight-2.csv."""
    if config.log is None or episode == 0:
        return config.log
    path = Path(config.log)
    return str(path.with_name(f"{path.stem}-{episode}{path.suffix}"))


def _simulated_time(rate: float, dt: float) -> Timing:
    """Return the clock of the simulator: real time times the rate, or as fast as possible with a rate of 0."""
    if rate > 0.0:
        return Timing(Pacer(dt / rate, time.monotonic, sleep), lambda: time.monotonic() * rate)
    passed = [0.0]

    def now() -> float:
        return passed[0]

    def skip(seconds: float) -> None:
        passed[0] += seconds

    return Timing(Pacer(dt, now, skip), now)


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
    check_realtime(config.realtime)
    if config.log is not None and config.plant is None and not config.ramp:
        raise InputError("log=... needs the safety layer, which writes it; add ramp=true, or give a plant")
    if config.plant is not None:
        _check_plant_options(config)


def _check_plant_options(config: DeployConfig) -> None:
    """Raise InputError for an option that only the simulator has."""
    defaults = DeployConfig()
    for name in ("episodes", "rate", "observation_noise", "action_delay"):
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
    """Return the exit status: 0 at the end or by key, 128 + signal, and 1 for every other cause of the layer."""
    if "cause" not in summary:
        return _STATUS.get(summary["stopped"], 0)
    if summary["cause"] in ("stop", "second_stop", "emergency"):
        return 0 if summary["signal"] is None else 128 + int(summary["signal"])
    return 0 if summary["cause"] == "end" else 1


def main() -> None:
    """Run `acer-deploy`."""
    run_command("deploy", DeployConfig, _deploy)


if __name__ == "__main__":
    main()
