"""Runs one incident of the drill in Python: MuJoCo as a plant that fails as the incident says."""

from __future__ import annotations

import os
import resource
import signal
import traceback
from pathlib import Path

import numpy as np
import torch
from incidents.drill_incidents import STEPS, STOPS, Event, Incident

from acer_robot.deployment.control_loop import LoopOptions
from acer_robot.deployment.drive import Driver, Timing
from acer_robot.deployment.drive_log import DriveLog
from acer_robot.deployment.limits import Limits
from acer_robot.deployment.pacing import Pacer
from acer_robot.deployment.plant import Vector
from acer_robot.deployment.stop_requests import StopRequests, counted_signals
from acer_robot.deployment.task_plant import TaskPlant
from acer_robot.policies.exported.file import LoadedPolicy
from acer_robot.tasks import VectorTask, make_task


class FailingPlant(TaskPlant):
    """The simulator behind sensors, a clock and a disk that fail in the ticks that the incident names."""

    def __init__(self, task: VectorTask, incident: Incident, log_file: Path) -> None:
        self.time, self.wrong_by, self.number = 100.0, 0.0, 0
        super().__init__(task, LoopOptions(), lambda: self.time)
        self._incident, self._log_file = incident, log_file
        self._given: tuple[Vector, float] | None = None

    def now(self) -> float:
        """Return the time, which may be wrong."""
        return self.time - self.wrong_by

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.time += max(0.0, seconds)

    def read(self) -> tuple[Vector, float] | None:  # type: ignore[override]
        """Return what the sensors give in this tick."""
        self.number += 1
        self.time += 1e-4  # reading takes time
        if (event := self._in("late")) is not None:
            self.time += event.number
        clock = self._in("clock")
        self.wrong_by = 0.0 if clock is None else clock.number
        if (event := self._in("signal")) is not None:
            os.kill(os.getpid(), int(event.number))
        if self._in("disk") is not None:
            fill_disk(self._log_file)
        if self._in("broken") is not None:
            raise ConnectionError("the bus is broken")
        if self._in("lost") is not None:
            return None
        if self._in("repeated") is not None:
            return self._given
        observation = self._observation.numpy().copy()
        if self._in("frozen") is not None and self._given is not None:
            observation = self._given[0]
        if (event := self._in("jump")) is not None:
            observation = (observation + np.float32(event.number)).astype(np.float32)
        if self._in("nan") is not None:
            observation[0] = np.nan
        old = self._in("old")
        self._given = (observation, self.now() - (0.0 if old is None else old.number))
        return self._given

    def _in(self, kind: str) -> Event | None:
        return next(
            (e for e in self._incident.events if e.kind == kind and e.first <= self.number <= e.last), None
        )


def fill_disk(log: Path) -> None:
    """Make the log's disk full from now on: the system refuses to make a file longer than the log is."""
    size = log.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def obey_signals() -> None:
    """Undo what a shell does to jobs in the background: they ignore SIGINT and SIGQUIT."""
    for number in (*STOPS, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def run(policy: LoadedPolicy, limits: Limits, incident: Incident, log: Path) -> int:
    """Run an incident in a child process, which it may kill. Return the exit status; negative: the signal."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            obey_signals()
            status = _drive(policy, limits, incident, log)
        except BaseException:  # noqa: BLE001 - the child must never go on as the parent does
            traceback.print_exc()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _drive(policy: LoadedPolicy, limits: Limits, incident: Incident, log_file: Path) -> int:
    """Drive once, as acer-deploy does; return the exit status."""
    torch.set_num_threads(1)
    task = make_task(policy.task_config, 1, 0)
    plant = FailingPlant(task, incident, log_file)
    requests = StopRequests()
    timing = Timing(Pacer(limits.dt, lambda: plant.time, plant.sleep), plant.now)
    driver = Driver(policy, plant, limits, DriveLog(str(log_file), policy.spec), requests, timing)
    with counted_signals(requests):
        drive = driver.drive(STEPS)
    if requests.signal is not None:
        return 128 + requests.signal
    return int(drive.cause != "end")
