"""Kill workers of one run at random, and show what was lost: `python benchmarks/worker_kills.py [--kills 20] [--ray]`.

The run is a short one of HalfCheetah with three workers; another without kills gives the score to compare with. The
lines at the end say whether a segment was torn or stored twice, and how the two runs scored.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.tables import read_table
from acer_robot.schema import TrainConfig
from acer_robot.training.run import train

SHORT = [
    "task=halfcheetah", "num_envs=12", "collector.workers=3", "collector.retries=100", "eval_every=10_000",
    "video=false", "hand_over=false", "wandb.mode=disabled", "learner.learning_starts=1_000",
]  # fmt: skip


def composed_train(*overrides: str) -> TrainConfig:
    """Return the options that `acer-train` gets."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    with initialize_config_module("acer_robot.configs", version_base="1.3"):
        return OmegaConf.to_object(compose("train", overrides=list(overrides)))


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


def score(folder: Path) -> float:
    """Return the mean of a run's last two evaluations."""
    returns = read_table(folder / "eval.csv")["eval/return_mean"]
    return sum(returns[-2:]) / 2.0


def main() -> int:
    """Train once with kills and once without; return 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pause", type=float, default=8.0, help="seconds between two kills, on average")
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="workers are Ray actors, not processes of the run")
    given, more = parser.parse_known_args()
    options = [*SHORT, f"steps={given.steps}", f"collector={'ray' if given.ray else 'overlapped'}", *more]
    with tempfile.TemporaryDirectory() as parent:
        calm, struck = Path(parent, "calm"), Path(parent, "struck")
        train(composed_train(f"run_dir={calm}", *options))
        start = time.monotonic()
        with Killer(given.kills, given.pause, struck / "metrics.csv", given.seed) as killer:
            train(composed_train(f"run_dir={struck}", *options))
        seconds = time.monotonic() - start
        columns = 12
        found = problems(struck, columns)
        lost = read_table(struck / "metrics.csv")["collect/lost"][-1]
        print(
            f"{len(killer.killed)} of {given.kills} kills in {seconds:.0f} s; {lost:.0f} workers were replaced"
        )
        print(f"return without kills {score(calm):.0f}, with kills {score(struck):.0f}")
        print(*(found or ["no segment was torn, lost within the learner, or stored twice"]), sep="\n")
    return int(bool(found) or len(killer.killed) < given.kills)


if __name__ == "__main__":
    sys.exit(main())
