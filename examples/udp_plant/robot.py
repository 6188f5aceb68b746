"""A simulated robot behind a bad network: `python robot.py policy.pt --port 5005 --lost 0.2 --corrupt 0.1`.

It simulates the task that the file was trained in. Each period it applies the newest command and sends an observation.
It is careful on its own: it ignores a corrupt or old command, and if it hears nothing for 0.25 s it ramps to rest.
After that, and when another drive begins, it goes to the commands by ramp steps.
It ends when the drive closes, or after `--seconds`, and prints what it got as JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from channel import Channel, Faults
from packets import COMMAND, LARGEST, OBSERVATION, POWER_OFF, pack, unpack

from acer_robot.deployment.limits import limits_of_file
from acer_robot.policies.exported.file import load_exported
from acer_robot.tasks import make_task

SILENCE = 0.25
"""Seconds without a command after which the robot ramps to rest on its own."""


@dataclass
class Report:
    """What the robot got."""

    commands: int = 0
    refused: int = 0
    """Packets that were corrupt."""
    old: int = 0
    """Commands that were repeated, came after a newer one, or are of a drive that another one has followed."""
    outside: int = 0
    """Commands outside the bounds."""
    excess: float = 0.0
    """Largest part of a step beyond the slew limit, for as many ticks as the numbers of two commands are apart."""
    ramped: int = 0
    """Periods in which the robot heard nothing and ramped on its own."""
    powered_off: bool = False
    last: tuple[float, ...] = ()


class Robot:
    """The robot's own computer."""

    def __init__(self, policy: Path, port: int, faults: Faults, seed: int) -> None:
        file = load_exported(policy)
        self.limits = limits_of_file(file.spec, file.metadata)
        self.task = make_task(file.task_config, 1, seed)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.incoming, self.outgoing = Channel(faults, seed), Channel(faults, seed + 1)
        self.command, self.number, self.heard = self.limits.rest, 0, 0.0
        self.drives: list[int] = []
        """Drives so far, the present one last."""
        self.catching_up = False
        """Whether the command is still on its way to the newest one of the drive."""
        self.peer: tuple[str, int] | None = None
        self.report = Report()

    def run(self, seconds: float, silent_after: float) -> Report:
        """Run until the drive closes, or for a time. After so many observations it says no more."""
        observation, number = self.task.reset()[0], 0
        start = due = time.monotonic()
        while not self.report.powered_off and time.monotonic() - start < seconds:
            self._receive(time.monotonic())
            self._watch(time.monotonic())
            result = self.task.step(torch.from_numpy(self.command)[None])
            observation, number = result.observations[0].numpy().astype(np.float32), number + 1
            silent_after -= self.peer is not None
            if silent_after > 0:
                self.outgoing.send(pack(OBSERVATION, number, time.monotonic(), observation), time.monotonic())
            for data in self.outgoing.due(time.monotonic()):
                if self.peer is not None:
                    self.socket.sendto(data, self.peer)
            due = max(due + self.limits.dt, time.monotonic())
            time.sleep(due - time.monotonic() if due > time.monotonic() else 0.0)
        self.report.last = tuple(float(x) for x in self.command)
        return self.report

    def _receive(self, now: float) -> None:
        while True:
            try:
                data, self.peer = self.socket.recvfrom(LARGEST + 1)
            except BlockingIOError:
                break
            self.incoming.send(data, now)
        for data in self.incoming.due(now):
            packet = unpack(data)
            if packet is None:
                self.report.refused += 1
            elif not self._is_of_this_drive(packet.drive):
                self.report.old += packet.kind == COMMAND
            elif packet.kind == POWER_OFF:
                self.report.powered_off = True
            elif packet.kind == COMMAND and packet.values.size == self.limits.width:
                self._take(packet.number, packet.values.astype(np.float64), now)

    def _is_of_this_drive(self, drive: int) -> bool:
        """Whether a packet belongs to the present drive; one that was never heard of becomes it."""
        if drive not in self.drives:
            self.drives.append(drive)
            self.number, self.catching_up = 0, True
        return drive == self.drives[-1]

    def _take(self, number: int, command: np.ndarray, now: float) -> None:
        if number <= self.number:
            self.report.old += 1
            return
        limits = self.limits
        self.report.outside += bool((command < limits.low).any() or (command > limits.high).any())
        if self.catching_up:
            near = self._towards(command)
            self.catching_up, command = bool((near != command).any()), near
        else:
            allowed = limits.slew_step * (number - self.number)
            self.report.excess = max(
                self.report.excess, float((np.abs(command - self.command) - allowed).max())
            )
        self.report.commands += 1
        self.command, self.number, self.heard = command, number, now

    def _towards(self, command: np.ndarray) -> np.ndarray:
        """Return the present command one ramp step nearer to another."""
        step = self.limits.ramp_step
        return np.clip(command, self.command - step, self.command + step)

    def _watch(self, now: float) -> None:
        """Ramp to rest while nothing is heard."""
        if self.report.commands and now - self.heard > SILENCE:
            self.report.ramped += 1
            self.command, self.catching_up = self._towards(self.limits.rest), True


def main() -> None:
    """Run the robot that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("--port", type=int, default=5005)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--silent-after", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    for name in ("lost", "delayed", "delay", "repeated", "corrupt"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Faults, name))
    given = parser.parse_args()
    faults = Faults(given.lost, given.delayed, given.delay, given.repeated, given.corrupt)
    robot = Robot(given.policy, given.port, faults, given.seed)
    print("ready", flush=True)
    print(json.dumps(asdict(robot.run(given.seconds, given.silent_after))))


if __name__ == "__main__":
    main()
