"""Resumable training runs: each is a subprocess and leaves one row of a CSV, which is never computed again.

Two processes may work on the same CSV at once; each run is claimed by one of them.
"""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from omegaconf import OmegaConf
from rows.results_table import Key, Point, Row, append_row, encode_curve, has_run, read_rows, take_claim

from acer_robot.commands.error_lines import unknown_choice
from acer_robot.commands.option_docs import group_choices
from acer_robot.errors import InputError
from acer_robot.provenance import cpu_model

ROOT = Path(__file__).resolve().parents[2]
CODE = ("acer_robot", "tasks", "policies", "configs", "benchmarks/peers.py", "benchmarks/pfrl_adapter.py")
"""Changes to these make a revision dirty: a run's numbers depend on nothing else of the repository."""
PEERS = {"sb3_sac": "sac", "sb3_ppo": "ppo"}
"""Learners that benchmarks/peers.py trains, and its names of them."""
INTERRUPTS = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGINT)
"""Exit statuses of a run that somebody stopped, which says nothing about the learner."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Run:
    """One training run; `overrides` are further options of the command."""

    task: str
    learner: str
    seed: int
    steps: int
    overrides: tuple[str, ...] = ()
    eval_every: int = field(default=20_000, compare=False)
    compiled: bool = field(default=False, compare=False)
    """Whether the learner's update is compiled; the peers have no such choice."""
    threads: int = 1
    until: float | None = None
    """The return at which the run has what it is for and is ended: the first evaluation that reaches it is its last."""

    @property
    def key(self) -> Key:
        """What a row of this run has in results_table.KEY."""
        options = [*self.overrides]
        options += [f"threads={self.threads}"] if self.threads > 1 else []
        options += [f"until={self.until:g}"] if self.until is not None else []
        return (self.task, self.learner, " ".join(options), str(self.seed), str(self.steps))

    @property
    def name(self) -> str:
        """A file name that no other run has."""
        words = [self.learner, self.task.replace("/", "."), f"seed{self.seed}", str(self.steps)]
        if options := self.key[2]:
            words.append(hashlib.sha1(options.encode()).hexdigest()[:8])
        return "_".join(words)

    def arguments(self) -> list[str]:
        """Return what follows `python`, without where the run writes."""
        if self.learner in PEERS:
            options = {"task": task_id(self.task), "steps": self.steps, "seed": self.seed}
            options["eval-every"] = self.eval_every
            options |= {"threads": self.threads} if self.threads > 1 else {}
            pairs = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            return ["benchmarks/peers.py", PEERS[self.learner], *pairs, *self.overrides]
        options = {"task": self.task, "learner": self.learner, "seed": self.seed, "steps": self.steps}
        options |= {"eval_every": self.eval_every, "threads": self.threads, "wandb.mode": "disabled"}
        options |= {"video": "false", "hand_over": "false"}
        options |= {"learner.compile": "true"} if self.compiled else {}
        return ["-m", "acer_robot.commands.train", *(f"{n}={v}" for n, v in options.items()), *self.overrides]

    def set_twice(self) -> list[str]:
        """Return the names of options that the command has more than once."""
        names = Counter(word.partition("=")[0] for word in self.arguments() if "=" in word)
        return [name for name, count in names.items() if count > 1]

    def destination(self, folder: Path) -> list[str]:
        """Return the arguments that make the run leave `folder`/eval.csv."""
        return ["--out", f"{folder}/eval.csv"] if self.learner in PEERS else [f"run_dir={folder}"]


def task_id(task: str) -> str:
    """Return the id of `task`: what libraries other than this one call it."""
    if task.startswith("dmc/"):
        return task.removeprefix("dmc/")
    return str(OmegaConf.load(ROOT / "configs" / "task" / f"{task}.yaml").id)


def check_names(tasks: Sequence[str], learners: Sequence[str]) -> None:
    """Raise InputError for a task or learner that does not exist, or a peer that is not installed."""
    if set(learners) & set(PEERS):
        need_extra("stable_baselines3")
    for group, names, more in (("task", tasks, ()), ("learner", learners, tuple(PEERS))):
        known = {*group_choices(group), *more}
        for name in names:
            if name not in known:
                raise InputError(unknown_choice(group, name, more))


def need_extra(*modules: str) -> None:
    """Raise InputError unless every one of `modules`, which the extra `benchmarks` installs, is there."""
    if absent := [module for module in modules if find_spec(module) is None]:
        raise InputError(f"{', '.join(absent)} not installed; pip install -e '.[benchmarks]'")


def revision() -> str:
    """Return the commit, with a + where the code of a run differs from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return commit + ("+" if _git("status", "--porcelain", "--", *CODE) else "") if commit else "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def versions(learner: str) -> str:
    """Return the versions that decide what a run computes."""
    names = ["torch", "numpy", "mujoco", "gymnasium", "dm-control"]
    names += ["stable-baselines3"] if learner in PEERS else []
    names += ["pfrl"] if learner == "pfrl" else []
    found = [f"{name} {metadata.version(name)}" for name in names]
    return ", ".join([f"python {platform.python_version()}", *found])


def read_curve(path: Path) -> list[Point]:
    """Return the evaluations in an eval.csv; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Point(int(float(row["step"])), float(row["seconds"]), float(row["eval/return_mean"]))
            for row in csv.DictReader(file)
        ]


class Training:
    """A run that has been claimed and started."""

    def __init__(self, run: Run, table: Path, claim: IO[str]) -> None:
        self.run, self._table, self._claim = run, table, claim
        self._temporary = tempfile.TemporaryDirectory(prefix="acer_benchmark_")
        self._folder = Path(self._temporary.name) / "run"
        self._folder.mkdir()
        self._errors = Path(self._temporary.name) / "stderr"
        self._revision, self._load = revision(), os.getloadavg()[1]
        claim.write(f"process {os.getpid()}: {run.name}\n")
        claim.flush()
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *run.arguments(), *run.destination(self._folder)],
                stdout=claim,  # which keeps the claim for as long as the run lives, should this process be killed
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": str(run.threads)},
            )

    def reached(self) -> bool:
        """Return whether an evaluation has reached what the run goes on until."""
        goal = self.run.until
        return goal is not None and any(
            point.value >= goal for point in read_curve(self._folder / "eval.csv")
        )

    def finish(self) -> str:
        """Append the row of a process that has ended; return how it went: "ok", or what went wrong.

        No row is written for a run that somebody stopped, or that was refused before it began.
        """
        status, code = "ok" if self.reached() else self._status(), self.process.returncode
        if code in INTERRUPTS and status != "ok":
            status = f"stopped from outside (exit status {code})"
        elif status == "ok" or any(self._folder.iterdir()):
            append_row(self._table, self._row(status))
        else:
            status = f"not started: {status}"
        self.close()
        return status

    def close(self) -> None:
        """End the process if it still runs, and give the claim back."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self._temporary.cleanup()
        self._claim.close()

    def _status(self) -> str:
        """Return "ok", or the last line of what the process complained of."""
        lines = [line.strip() for line in self._errors.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        if self.process.returncode != 0:
            last = lines[-1] if lines else "no message"
            last = last.removeprefix("acer-robot: error: ")
            return self._without_places(f"exit status {self.process.returncode}: {last}")[:300]
        return "ok" if read_curve(self._folder / "eval.csv") else "no evaluation was left"

    def _without_places(self, text: str) -> str:
        """Return `text` without the folders of this machine."""
        places = {self._temporary.name: "TEMPORARY", sys.prefix: "PYTHON", str(ROOT): "."}
        for place, name in (places | {str(Path.home()): "HOME"}).items():
            text = text.replace(place, name)
        return text

    def _row(self, status: str) -> Row:
        run = self.run
        words = [f"'{word}'" if set(word) & set(" []{}") else word for word in run.arguments()]
        return {
            "date": date.today().isoformat(),
            "task": run.task,
            "learner": run.learner,
            "overrides": run.key[2],
            "seed": str(run.seed),
            "steps": str(run.steps),
            "status": status,
            "curve": encode_curve(read_curve(self._folder / "eval.csv")),
            "load": f"{self._load:.1f} {os.getloadavg()[1]:.1f}",
            "command": " ".join([f"OMP_NUM_THREADS={run.threads} python", *words]),
            "revision": self._revision,
            "versions": versions(run.learner),
            "machine": f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        }


def start(run: Run, table: Path) -> Training | None:
    """Start a run; None where `table` has its row, or a longer one, or another process is at it."""
    claim = take_claim(table.parent / ".claims" / table.stem / f"{run.name}.log")
    if claim is None:
        print(f"{run.name}: another process is at it", flush=True)
        return None
    if has_run(read_rows(table), run.key):
        claim.close()
        return None
    print(f"{run.name}: started", flush=True)
    return Training(run, table, claim)


def run_all(plan: Sequence[Run], table: Path, workers: int = 1) -> int:
    """Do every run of `plan` that has no row yet, in that order; return how many were left without one."""
    waiting, active, failed = deque(plan), list[Training](), 0
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                if (training := start(waiting.popleft(), table)) is not None:
                    active.append(training)
            for training in active:
                if training.process.poll() is None and training.reached():
                    training.process.terminate()
            for training in [one for one in active if one.process.poll() is not None]:
                active.remove(training)
                status = training.finish()
                print(f"{training.run.name}: {status}", flush=True)
                failed += not has_run(read_rows(table), training.run.key)
            time.sleep(POLL_SECONDS if active else 0.0)
    finally:
        for training in active:
            training.close()
    return failed


def run_plan(plan: Sequence[Run], table: Path, workers: int) -> None:
    """Check the names in `plan` and do what has no row yet; a SIGTERM ends the subprocesses too.

    Raises:
        InputError: if a task or learner does not exist.
        SystemExit: status 1 if a run was left without a row.
    """
    check_names([run.task for run in plan], [run.learner for run in plan])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows = read_rows(table)
    done = sum(has_run(rows, run.key) for run in plan)
    print(f"{len(plan)} runs, of which {done} have their row", flush=True)
    if failed := run_all(plan, table, workers):
        print(f"{failed} runs were left without a row", file=sys.stderr)
        raise SystemExit(1)
