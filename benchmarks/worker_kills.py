"""Kill workers of one run at random, and show what was lost: `python benchmarks/worker_kills.py [--kills 20] [--ray]`.

The run learns InvertedPendulum-v5 with three workers; one without kills gives the score to compare with. With --ray the
workers are actors on a cluster of several nodes on this machine, and every third blow takes a whole node. The lines at
the end say whether a segment was torn or stored twice, and how the two runs scored. `--report FILE` writes them down.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import random
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from memory import last_step
from rows.train_options import composed_train

from acer_robot.distributed.cluster import ray_module
from acer_robot.provenance import git_revision
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.replay_files import read_rows
from acer_robot.run_folder.tables import read_table
from acer_robot.training.run import train

COLUMNS = 12
"""Environments in all."""
EVALUATIONS = 6
SHORT = [
    "task=gym", "task.id=InvertedPendulum-v5", f"num_envs={COLUMNS}", "collector.workers=3", "collector.retries=100",
    "collector.timeout=900", "collector.segment_length=16", "eval_episodes=10", "log_every=100", "video=false",
    "hand_over=false", "wandb.mode=disabled", "learner.hidden=[32,32]", "learner.advantage_hidden=32",
    "learner.learning_starts=400", "learner.segments=8", "learner.replay_ratio=32", "learner.lr=0.0006",
    "learner.deployed_alpha=0.99", "learner.compile=false",
]  # fmt: skip
NODES, NODE_CPUS = 2, 3
"""Nodes beside the learner's. One of them is enough for all workers."""
SMALL = {"object_store_memory": 2**27, "include_log_monitor": False}
"""What makes a node start fast."""
TRIES = 5
"""How often a node is started that does not come up."""
NODE_SHARE = 3
"""Every third blow takes a node, where there are nodes."""
BEGIN, END = 0.1, 0.8
"""Part of the run's steps between which the kills lie, so that new workers still have something to do."""


class Nodes:
    """A Ray cluster of several nodes on this machine."""

    def __init__(self, count: int = NODES, cpus: int = NODE_CPUS) -> None:
        """Start the head, where no worker is, and the nodes; all of them listen on the loopback alone."""
        os.environ.update(
            RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_worker_niceness="0"
        )
        ray_module()  # it reads these variables when it is imported
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, **SMALL}
        self._cluster: Any = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self._cluster._shutdown_at_exit = False  # of further nodes: else a thread could not add one
        self._cpus = cpus
        self._nodes = [self._add() for _ in range(count)]
        self._cluster.wait_for_nodes(timeout=300)

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return str(self._cluster.address)

    def _add(self) -> object:
        return patiently(lambda: self._cluster.add_node(wait=False, num_cpus=self._cpus, **SMALL))

    def strike(self, number: int) -> None:
        """Kill all processes of a node at once, and start another node."""
        self._cluster.remove_node(self._nodes.pop(number % len(self._nodes)), allow_graceful=False)
        self._nodes.append(self._add())

    def close(self) -> None:
        """End all nodes."""
        ray_module().shutdown()
        self._cluster.shutdown()


def patiently(start: Callable[[], Any]) -> Any:
    """Start a node of Ray, which gives up after 30 s where other work takes all cores; try a few times."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(Exception):  # Ray raises no class of its own
            return start()
    return start()


class Killer(threading.Thread):
    """Kills workers of this process with SIGKILL, and nodes if there are any, at random steps of a run.

    It goes by the rows of metrics.csv, and not by the clock, so that a slow machine gets as many kills as a fast one.
    """

    def __init__(
        self, kills: int, steps: int, metrics: Path, nodes: Nodes | None = None, seed: int = 0
    ) -> None:
        super().__init__(daemon=True)
        self.workers: list[int] = []
        """Processes that were killed."""
        self.nodes = 0
        """Nodes that were killed."""
        self._metrics, self._cluster, self._random = metrics, nodes, random.Random(seed)
        self._due = sorted(steps * self._random.uniform(BEGIN, END) for _ in range(kills))
        self._over = threading.Event()

    @property
    def kills(self) -> int:
        """How many kills there were."""
        return len(self.workers) + self.nodes

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Kill one after another, each a random moment after its step."""
        for number, step in enumerate(self._due):
            while last_step(self._metrics) < step:
                if self._over.wait(0.05):
                    return
            self._over.wait(self._random.uniform(0.0, 0.3))
            if self._cluster is not None and number % NODE_SHARE == NODE_SHARE - 1:
                self._cluster.strike(self._random.randrange(NODES))
                self.nodes += 1
            else:
                self._kill_worker()
        self._over.wait()  # the nodes that this thread started end with it

    def _kill_worker(self) -> None:
        """Kill a worker that lives; wait for one if there is none."""
        while not self._over.wait(0.05):
            if found := [number for number in workers_of(os.getpid()) if number not in self.workers]:
                number = self._random.choice(found)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
                    self.workers.append(number)
                    return


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
    stored = torch.cat(list(read_rows(folder, replay["files"], 0))).flatten(0, 1)
    if twice := len(stored) - len(stored.unique(dim=0)):
        found.append(f"{twice} transitions are stored twice")
    if not is_steady(read_table(folder / "metrics.csv")["time/updates"]):
        found.append("the learner lost updates")
    return found


def is_steady(updates: list[float]) -> bool:
    """Whether the count of updates never fell, so that no state of the learner was lost."""
    return all(one <= other for one, other in itertools.pairwise(updates))


@dataclass(frozen=True)
class Score:
    """Return of a run's best evaluation, which it keeps: mean, and standard deviation over episodes."""

    mean: float
    spread: float

    @staticmethod
    def of(folder: Path) -> Score:
        """Read it from eval.csv."""
        table = read_table(folder / "eval.csv")
        return Score(*max(zip(table["eval/return_mean"], table["eval/return_std"], strict=True)))

    def is_near(self, other: Score) -> bool:
        """Whether this is at most a tenth and two standard deviations below another run's score."""
        return self.mean >= 0.9 * other.mean - 2.0 * other.spread


@contextlib.contextmanager
def cluster(is_wanted: bool) -> Iterator[Nodes | None]:
    """Give the nodes of a cluster if they are wanted, and end them."""
    if not is_wanted:
        yield None
        return
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.close()


def measured(given: argparse.Namespace, more: list[str]) -> tuple[list[str], bool]:
    """Train once without kills and once with them; return what there is to say, and whether all is well."""
    options = [
        *SHORT,
        f"steps={given.steps}",
        f"eval_every={given.steps // EVALUATIONS}",
        f"seed={given.seed}",
    ]
    with tempfile.TemporaryDirectory() as parent, cluster(given.ray) as nodes:
        options += (
            ["collector=overlapped"]
            if nodes is None
            else ["collector=ray", f"collector.address={nodes.address}"]
        )
        calm, struck = Path(parent, "calm"), Path(parent, "struck")
        start = time.monotonic()
        train(composed_train(f"run_dir={calm}", *options, *more))
        between = time.monotonic()
        with Killer(given.kills, given.steps, struck / "metrics.csv", nodes, given.seed) as killer:
            train(composed_train(f"run_dir={struck}", *options, *more))
        end = time.monotonic()
        found, one, other = problems(struck, COLUMNS), Score.of(calm), Score.of(struck)
        lost = read_table(struck / "metrics.csv")["collect/lost"][-1]
    if not other.is_near(one):
        found.append("the run with kills scored far below the other")
    if killer.kills < given.kills:
        found.append(f"only {killer.kills} of {given.kills} kills took place")
    lines = [
        f"{killer.kills} of {given.kills} kills: {len(killer.workers)} workers and {killer.nodes} nodes; "
        f"{lost:.0f} workers were replaced",
        f"best return without kills {one.mean:.0f} ± {one.spread:.0f} (over episodes), with kills {other.mean:.0f} ± "
        f"{other.spread:.0f}",
        f"seconds without kills {between - start:.0f}, with kills {end - between:.0f}",
    ]
    well = (
        "no state of the learner was lost, and no segment was torn, lost within the learner, or stored twice"
    )
    return lines + (found or [well]), not found


def write_report(path: Path, lines: list[str]) -> None:
    """Write the lines with command, revision and machine."""
    command = shlex.join(["python", "benchmarks/worker_kills.py", *sys.argv[1:]])
    head = ["# Kills of workers and nodes during a run", "", f"`{command}`, revision {git_revision()}, "
            f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}.", ""]  # fmt: skip
    path.write_text("\n".join([*head, *(f"- {line}" for line in lines), ""]), encoding="utf-8")


def main() -> int:
    """Train once with kills and once without; return 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--ray", action="store_true", help="workers are Ray actors on several nodes, some of which die"
    )
    parser.add_argument("--report", type=Path, help="write the lines to this Markdown file too")
    given, more = parser.parse_known_args()
    lines, is_well = measured(given, more)
    print(*lines, sep="\n")
    if given.report is not None:
        write_report(given.report, lines)
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main())
