"""Plants for the tests of the loop: a robot in memory whose clock passes only in sleep."""

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
