"""What `acer-deploy` does behind the safety layer: drive a plant once, or the simulator episode by episode."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acer_robot.deployment.control_loop import LoopOptions
from acer_robot.deployment.drive import Drive, Driver, Timing
from acer_robot.deployment.drive_log import DriveLog
from acer_robot.deployment.limits import Limits, limits_of_file
from acer_robot.deployment.pacing import Pacer, percentiles, pressed_key
from acer_robot.deployment.plant import check_plant, load_plant
from acer_robot.deployment.realtime import real_time, sleep
from acer_robot.deployment.stop_requests import StopRequests, counted_signals
from acer_robot.deployment.task_plant import TaskPlant
from acer_robot.policies.exported.file import LoadedPolicy
from acer_robot.spec import check_same_robot
from acer_robot.tasks import make_task, with_velocity

if TYPE_CHECKING:
    from acer_robot.commands.deploy import DeployConfig


def drive(config: DeployConfig, policy: LoadedPolicy) -> dict[str, Any]:
    """Drive the plant of the options, or the simulator where there is none; return what `acer-deploy` prints."""
    if config.plant is not None:
        return _drive_plant(config, policy, config.plant)
    return _drive_task(config, policy)


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
    task = make_task(with_velocity(policy.task_config, config.task.velocity), 1, config.seed)
    try:
        check_same_robot(policy.spec, task.spec)
        timing = _simulated_time(config.rate, task.spec.control_dt)
        options = LoopOptions(
            seed=config.seed, observation_noise=config.observation_noise, command_delay=config.command_delay
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
