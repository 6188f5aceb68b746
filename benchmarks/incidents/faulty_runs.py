"""Runs in processes of their own that are disturbed, and how two runs are compared."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from acer_robot.commands import train as train_command
from acer_robot.run_folder.checkpoints import content_sha256, read_checkpoint

TINY = [
    "task=gym", "task.id=Pendulum-v1", "+task.kwargs.max_episode_steps=70", "num_envs=2", "steps=600", "eval_every=150",
    "eval_episodes=2", "log_every=50", "video=false", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=40", "learner.segments=4", "learner.replay_ratio=8",
    "learner.compile=false", "checkpoint.every_minutes=0.01",
]  # fmt: skip


class FaultyEnv(gymnasium.Env):
    """An environment that fails at its 80th step, in the way that it is told."""

    metadata = {"render_modes": [], "render_fps": 50}  # noqa: RUF012
    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, fault: str = "raise") -> None:
        self.fault, self.steps = fault, 0

    def reset(self, *, seed=None, options=None):
        """Start an episode."""
        super().reset(seed=seed)
        return self.np_random.normal(size=3), {}

    def step(self, action):
        """Take a step, or fail."""
        self.steps += 1
        observation, reward = self.np_random.normal(size=3), float(action[0])
        if self.steps >= 80:
            if self.fault == "hang":
                time.sleep(600)
            if self.fault == "die":
                os._exit(3)
            if self.fault == "raise":
                raise RuntimeError("the encoder is lost")
            if self.fault == "spike":
                observation[1] += 1e20 if self.steps == 85 else 0.0
            wrong = {"none": None, "wide": np.zeros(4), "undefined": observation * np.nan, "text": "x"}
            observation = wrong.get(self.fault, observation)
            reward = {"word": "x", "infinite": np.inf}.get(self.fault, reward)
        return observation, reward, False, False, {}


gymnasium.register("Faulty-v0", entry_point=FaultyEnv, max_episode_steps=20)


@dataclass
class Child:
    """A process that trains; what it prints is in a file."""

    pid: int
    output: Path
    begun: float
    status: int | None = None
    """Exit status, or minus the number of the signal that killed it; None while it runs."""

    @property
    def text(self) -> str:
        """What it printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def is_running(self) -> bool:
        """Whether it has not ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, seconds: float = 300.0) -> int:
        """Return its status; one that goes on for longer is killed, with status -9."""
        end = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < end:
            time.sleep(0.01)
        if self.is_running():
            self.send(signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        assert self.status is not None
        return self.status

    def wait_for(self, words: str, seconds: float = 300.0) -> bool:
        """Return whether it printed `words` before it ended."""
        end = time.monotonic() + seconds
        while words not in self.text and self.is_running() and time.monotonic() < end:
            time.sleep(0.005)
        return words in self.text

    def send(self, number: int) -> None:
        """Send it a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def command(output: Path, arguments: Sequence[str], environment: dict[str, str] | None = None) -> Child:
    """Start `acer-train` in a fork of this process, which has all modules loaded already."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, output, time.monotonic())
    status = 70
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(environment or {})
        sys.argv = ["acer-train", *arguments]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        train_command.main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 (the parent reads the traceback)
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def difference(one: Path, other: Path) -> str:
    """Return in what two runs differ, or nothing if they learnt the same, bit for bit."""
    contents = [read_checkpoint(folder) for folder in (one, other)]
    if contents[0]["steps"] != contents[1]["steps"]:
        return f"steps {contents[0]['steps']} and {contents[1]['steps']}"
    if content_sha256(contents[0]["learner"]) != content_sha256(contents[1]["learner"]):
        return "the learner's parameters"
    for name in ("metrics.csv", "eval.csv"):
        if list(rows(one / name)) != list(rows(other / name)):
            return f"rows of {name}"
    return ""


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table without the columns of time."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {
                name: value
                for name, value in row.items()
                if name != "seconds" and not name.startswith("time/")
            }
