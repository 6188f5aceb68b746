"""Plants for the tests of the loop: a robot in memory whose clock passes only in sleep."""

import os
import time
from pathlib import Path

import numpy as np


class Clock:
    """Seconds that pass in `sleep` and where a plant says so."""

    def __init__(self, start=50.0):
        self.time = start

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


class MemoryPlant:
    """A robot of two joints with two numbers to observe. `faults` maps a read's number to what it does instead."""

    def __init__(self, clock=None, faults=None, measured=None):
        self.clock = clock or Clock()
        self.faults, self.start = faults or {}, measured
        self.reads, self.calls, self.written = 0, [], []
        self.last = (np.zeros(2, np.float32), self.clock.now())
        if measured is not None:
            self.measured = lambda: measured

    def connect(self):
        self.calls.append("connect")

    def read(self):
        self.reads += 1
        fault = self.faults.get(self.reads, self.faults.get("always"))
        if isinstance(fault, str):  # "lost"
            return self.last
        if callable(fault):
            return fault()
        observation = np.sin(np.arange(2) + self.reads).astype(np.float32)
        self.last = (observation if fault is None else fault, self.clock.now())
        return self.last

    def write(self, command):
        assert command.dtype == np.float32
        self.calls.append("write")
        self.written.append(command.copy())

    def close(self):
        self.calls.append("close")


class WallClock:
    """The clock of the machine."""

    def now(self):
        return time.monotonic()


RECORD = "ACER_TEST_RECORD"


class RecordedPlant(MemoryPlant):
    """A robot on the machine's clock. It writes what it got into the file that `RECORD` names, line by line."""

    def __init__(self):
        super().__init__(WallClock())
        self.file = Path(os.environ[RECORD]).open("w", buffering=1)  # noqa: SIM115 - open until the process ends

    def describe(self):
        return {"joints": ["hip", "knee"], "dt": 0.02, "bounds": [[-1.0, 1.0], [-2.0, 3.0]]}

    def write(self, command):
        super().write(command)
        print(*command, file=self.file)

    def close(self):
        super().close()
        print("close", file=self.file)


made: list = []
"""Plants that `make_plant` returns, in order."""


def make_plant():
    """The function of plant=plants:make_plant: what a test put into `made`, else a recorded plant."""
    return made.pop(0) if made else RecordedPlant()


def make_none():
    """A function that forgets to return its plant."""


def make_broken():
    raise RuntimeError("no bus")
