"""Kill workers of one run at random, and show what was lost: `python benchmarks/worker_kills.py [--kills 20] [--ray]`.

The run is a short one of HalfCheetah with three workers; another without kills gives the score to compare with. Each
line is a kill. The last lines say whether a segment was torn or stored twice, and how the two runs scored.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path

from acer_robot.run_folder.checkpoints import read_checkpoint

NAMES = ("acer-collector", "ray::Worker")


class Killer(threading.Thread):
    """Kills workers of this process with SIGKILL while the block runs, once there are rows in metrics.csv."""

    def __init__(self, kills: int, pause: float, metrics: Path, seed: int = 0) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self._kills, self._pause, self._metrics, self._random = kills, pause, metrics, random.Random(seed)
        self._over = threading.Event()

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Kill one worker after another, at random times around the pause."""
        while len(self.killed) < self._kills and not self._over.wait(0.05):
            if not self._metrics.exists():
                continue
            if found := [number for number in workers_of(os.getpid()) if number not in self.killed]:
                number = self._random.choice(found)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
                    self.killed.append(number)
                self._over.wait(self._pause * self._random.uniform(0.5, 1.5))


def workers_of(ancestor: int) -> list[int]:
    """Return the processes below `ancestor` that collect. It reads /proc, so that it works on Linux alone."""
    parents, workers = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
            if words.startswith(b"ray::Worker") or b"--multiprocessing-fork" in words:
                workers.append(int(entry.name))
    return [number for number in workers if ancestor in _ancestors(number, parents)]


def _ancestors(number: int, parents: dict[int, int]) -> list[int]:
    found = []
    while number := parents.get(number, 0):
        found.append(number)
    return found


def problems(folder: Path, columns: int) -> list[str]:
    """Return what does not fit together in a run whose workers have `columns` environments in all."""
    content = read_checkpoint(folder)
    collector, replay = content["resume"]["collector"], content["resume"]["replay"]
    per_worker = columns // len(collector["incarnations"])
    counted = float(content["learner"]["modules"]["normalizer.count"])
    found = []
    if replay["added"] * per_worker != collector["transitions"]:
        found.append(f"{replay['added']} rows were stored, and {collector['transitions']} transitions taken")
    if counted != collector["transitions"]:
        found.append(f"the statistics counted {counted:.0f} of {collector['transitions']} observations")
    if collector["dropped"]:
        found.append(f"{collector['dropped']} segments were dropped")
    return found
