"""What `acer-deploy` does behind the safety layer: drive a plant once, or the simulator episode by episode."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acer_robot.deployment.control_loop import LoopOptions
from acer_robot.deployment.drive import Drive, Driver, Timing
from acer_robot.deployment.drive_log import DriveLog, check_new, is_special
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.limits import Limits, limits_of_file
from acer_robot.deployment.pacing import Pacer, percentiles, pressed_key
from acer_robot.deployment.plant import check_plant, load_plant
from acer_robot.deployment.realtime import RealTimeOptions, real_time, sleep
from acer_robot.deployment.stop_requests import StopRequests, counted_signals
from acer_robot.deployment.task_plant import TaskPlant
from acer_robot.policies.exported.file import LoadedPolicy
from acer_robot.schema import ShownTask
from acer_robot.spec import check_same_robot
from acer_robot.tasks import make_task, with_velocity


@dataclass(frozen=True)
class DriveJob:
    """What to drive, and for how long. `acer-deploy` has an option of the same name for each field."""

    plant: str | None
    """module:function of a robot; None: the simulator."""
    episodes: int
    seed: int
    rate: float
    """Speed of the simulator as a multiple of real time; 0: as fast as possible."""
    max_steps: int | None
    observation_noise: float
    command_delay: int
    task: ShownTask
    log: str | None
    safety: Options
    realtime: RealTimeOptions


def drive(job: DriveJob, policy: LoadedPolicy) -> dict[str, Any]:
    """Drive the plant of the job, or the simulator where there is none; return what `acer-deploy` prints."""
    if job.plant is not None:
        return _drive_plant(job, policy, job.plant)
    return _drive_task(job, policy)


def _drive_plant(job: DriveJob, policy: LoadedPolicy, name: str) -> dict[str, Any]:
    """Drive somebody's own robot once."""
    limits = limits_of_file(policy.spec, policy.metadata, job.safety)
    plant = load_plant(name)
    check_plant(plant, policy.spec, policy.metadata.get("robot"))
    log = DriveLog(job.log, policy.spec)
    timing = Timing(Pacer(policy.spec.control_dt, time.monotonic, sleep))

    def run(requests: StopRequests) -> list[Drive]:
        driver = Driver(policy, plant, limits, log, requests, timing)
        return [driver.drive(_most_ticks(job, limits))]

    return _driven(job, limits, timing.pacer, run)


def _drive_task(job: DriveJob, policy: LoadedPolicy) -> dict[str, Any]:
    """Drive the simulator, each episode as a drive of its own."""
    limits = limits_of_file(policy.spec, policy.metadata, job.safety)
    for episode in range(job.episodes if job.log is not None else 0):
        check_new(str(_log_of(job, episode)))
    task = make_task(with_velocity(policy.task_config, job.task.velocity), 1, job.seed)
    try:
        check_same_robot(policy.spec, task.spec)
        timing = _simulated_time(job.rate, task.spec.control_dt)
        options = LoopOptions(
            seed=job.seed,
            max_steps=job.max_steps,
            observation_noise=job.observation_noise,
            command_delay=job.command_delay,
        )
        plant = TaskPlant(task, options, timing.now)
        returns: list[float] = []
        lengths: list[int] = []

        def run(requests: StopRequests) -> list[Drive]:
            drives = []
            for episode in range(job.episodes):
                log = DriveLog(_log_of(job, episode), policy.spec)
                driver = Driver(policy, plant, limits, log, requests, timing)
                drives.append(driver.drive(_most_ticks(job, limits), lambda: plant.ended))
                returns.append(plant.total)
                lengths.append(plant.length)
                if drives[-1].cause != "end":
                    break
            return drives

        found = _driven(job, limits, timing.pacer, run)
    finally:
        task.close()
    return {"returns": returns, "lengths": lengths, **found}


def _driven(
    job: DriveJob, limits: Limits, pacer: Pacer, run: Callable[[StopRequests], list[Drive]]
) -> dict[str, Any]:
    """Run drives with signals, keys and real time; return what `acer-deploy` prints."""
    torch.set_num_threads(1)
    requests = StopRequests()
    with counted_signals(requests), pressed_key() as requests.key, real_time(job.realtime) as refused:
        for line in refused:
            print(f"acer-deploy: {line}", file=sys.stderr)
        drives = run(requests)
    latencies = [seconds for drive in drives for seconds in drive.latencies]
    last = drives[-1]
    return {
        "stopped": None if last.cause == "end" else last.cause,
        "cause": last.cause,
        "reason": last.reason,
        "signal": requests.signal,
        "log": job.log,
        "far_observations": sum(drive.far for drive in drives),
        "control_dt": limits.dt,
        "rate": job.rate,
        "commands": sum(drive.commands for drive in drives),
        "deadline_misses": pacer.misses if job.rate > 0.0 else None,
        "jitter_us": percentiles(pacer.lateness),
        "latency_us": percentiles(latencies),
    }


def _most_ticks(job: DriveJob, limits: Limits) -> float:
    return math.inf if job.max_steps is None else job.max_steps


def _log_of(job: DriveJob, episode: int) -> str | None:
    """Return the log of an episode: flight.csv, and then flight-1.csv, ..; a pipe or a device gets all of them."""
    if job.log is None or episode == 0 or is_special(job.log):
        return job.log
    path = Path(job.log)
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
