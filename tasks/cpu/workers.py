"""The environments of a task in processes of their own: one that hangs or dies is named, and harms no other."""

from __future__ import annotations

import ctypes
import io
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec
from acer_robot.tasks.cpu.inside import INSIDE
from acer_robot.tasks.cpu.vector_task import CpuTask
from acer_robot.tasks.interface import Measured, StepResult

START_SECONDS = 120.0
"""How long a process may take to import its modules and to make its environments."""
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (InputError, NonFiniteError, TaskError, ValueError)
}
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or a cluster sends to all processes: the parent obeys them and ends its workers."""


@dataclass(frozen=True)
class _Part:
    """What a process makes: some of a task's environments."""

    config: TaskConfig
    spec: TaskSpec
    seed: int
    first: int
    count: int
    total: int


class WorkerTask:
    """B environments of one task in `workers` processes, as a `VectorTask` on the CPU.

    Each process holds a `CpuTask` of some of the environments; seeds, numbers and state are those of one `CpuTask`.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        config: TaskConfig,
        spec: TaskSpec,
        num_envs: int,
        seed: int,
        build: Callable[..., Any],
        timeout: float,
    ) -> None:
        """Start the processes.

        Args:
            config: the options of the task; `workers` is how many processes there are.
            spec: the task as it was measured.
            num_envs: number of environments B, over all processes.
            seed: as of `CpuTask`.
            build: function of a module that makes one environment of `config`.
            timeout: seconds that a step or a reset may take.

        Raises:
            TaskError: if an environment cannot be made there.
        """
        self.spec, self.num_envs, self._timeout = spec, num_envs, timeout
        count, context = min(config.workers, num_envs), multiprocessing.get_context("spawn")
        limits = [num_envs * i // count for i in range(count + 1)]
        self._slices = [slice(first, last) for first, last in itertools.pairwise(limits)]
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        self._inside: list[Any] = []
        for part in self._slices:
            ours, theirs = context.Pipe()
            inside = context.RawValue(ctypes.c_longlong, -1)
            what = _Part(config, spec, seed, part.start, part.stop - part.start, num_envs)
            process = context.Process(
                target=_work,
                args=(theirs, inside, what, build, os.getpid()),
                daemon=True,
                name="acer-environments",
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)
            self._inside.append(inside)
        try:
            self._answers(START_SECONDS)
        except Exception:
            self.close()
            raise

    @property
    def unstable_steps(self) -> int:
        """Environment steps so far after which MuJoCo found its simulation unstable."""
        return self._unstable

    def reset(self) -> Tensor:
        """Start new episodes in all environments and return their observations [B, n]."""
        return torch.cat([torch.from_numpy(part) for part in self._ask("reset")])

    def step(self, commands: Tensor) -> StepResult:
        """Apply commands [B, d]; see `CpuTask.step`.

        Raises:
            TaskError: also if an environment hangs for longer than the time-out, or its process dies.
        """
        expected = (self.num_envs, self.spec.action_size)
        if commands.shape != expected:
            raise ValueError(
                f"commands have shape {tuple(commands.shape)}; expected {expected}: environments, joints"
            )
        parts = self._ask("step", *[(commands[part].numpy(),) for part in self._slices])
        self._unstable = sum(unstable for _, unstable in parts)
        return StepResult(
            *(
                torch.cat([torch.from_numpy(piece) for piece in pieces])
                for pieces in zip(*(p for p, _ in parts), strict=True)
            )
        )

    def reseed(self, seed: int) -> None:
        """Let the next reset start the random streams anew from `seed`."""
        self._ask("reseed", *[(seed,)] * len(self._slices))

    def state(self) -> dict[str, Any]:
        """Return the state as `CpuTask.state` does."""
        states = [torch.load(io.BytesIO(part), weights_only=True) for part in self._ask("state")]
        filters = [state["filter"] for state in states]
        seeds = [state["seeds"] for state in states]
        return {
            "environments": [environment for state in states for environment in state["environments"]],
            "filter": None
            if filters[0] is None
            else {"previous": [row for known in filters for row in known["previous"]]},
            "seeds": None if seeds[0] is None else [seed for part in seeds for seed in part],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` of a task with as many environments was called."""
        if len(state["environments"]) != self.num_envs:
            raise InputError(f"the state is that of another task than {self.num_envs} of {self.spec.id}")
        asked = []
        for part in self._slices:
            known = {
                "environments": state["environments"][part],
                "filter": state["filter"] and {"previous": state["filter"]["previous"][part]},
                "seeds": state["seeds"] and state["seeds"][part],
            }
            buffer = io.BytesIO()
            torch.save(known, buffer)
            asked.append((buffer.getvalue(),))
        self._ask("restore", *asked)

    def render(self) -> Any:  # noqa: ANN401 (never returns)
        """Refuse: pictures are drawn in the process of a command."""
        raise RuntimeError("a task in worker processes draws nothing; use make_task with a render_size")

    def simulation(self) -> None:
        """Return None: the simulations are in other processes."""

    def position(self) -> None:
        """Return None: the simulations are in other processes."""

    def add_velocity(self, change: npt.NDArray[np.float64]) -> None:
        """Refuse: the simulations are in other processes."""
        raise RuntimeError("a task in worker processes cannot be pushed; use make_task")

    def numbers(self) -> dict[str, float]:
        """Return nothing: these tasks have no numbers of their own."""
        return {}

    def measure(self, count: int) -> Callable[[], list[Measured]]:
        """Refuse: what records an exported file's episodes steps them in its own process."""
        raise RuntimeError("a task in worker processes cannot be measured; use make_task")

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()  # an environment that hangs hears nothing else
        for process in self._processes:
            process.join()
        for connection in self._connections:
            connection.close()

    _unstable = 0

    def _ask(self, name: str, *arguments: tuple[Any, ...]) -> list[Any]:
        """Call a method in every process, all at the same time, and return what they return."""
        for number, connection in enumerate(self._connections):
            try:
                connection.send((name, arguments[number] if arguments else ()))
            except OSError:
                raise self._died(number) from None
        return self._answers(self._timeout)

    def _answers(self, timeout: float) -> list[Any]:
        """Return what all processes answer within `timeout` seconds.

        Raises:
            TaskError: if one does not answer, or ended.
            Exception: what one raised, of the kinds in _ERRORS.
        """
        end, answers, errors = time.monotonic() + timeout, [], []
        for number, connection in enumerate(self._connections):
            try:
                if not connection.poll(max(0.0, end - time.monotonic())):
                    raise self._failed(number, f"did not answer within {timeout:g} s (step_timeout)")
                kind, value, environment = connection.recv()
            except (EOFError, OSError):
                raise self._died(number) from None
            if kind:
                error = _ERRORS.get(kind, TaskError)(value)
                if isinstance(error, NonFiniteError | TaskError):
                    error.environment = environment
                errors.append(error)
            answers.append(value)
        if errors:
            raise errors[0]
        return answers

    def _died(self, number: int) -> TaskError:
        """Say with which status a process ended."""
        process = self._processes[number]
        process.join(5.0)
        status = process.exitcode
        how = (
            f"signal {signal.Signals(-status).name}"
            if status is not None and status < 0
            else f"status {status}"
        )
        return self._failed(number, f"ended its process with {how}")

    def _failed(self, number: int, what: str) -> TaskError:
        """Name the environment that a process is in."""
        part, place = self._slices[number], self._inside[number].value
        inside = place >= 0
        which = (
            f"environment {place}" if inside else f"one of the environments {part.start} to {part.stop - 1}"
        )
        error = TaskError(f"{which} of {self.spec.id} {what}")
        error.environment = int(place) if inside else None
        return error


def _work(connection: Connection, inside: Any, part: _Part, build: Callable[..., Any], parent: int) -> None:  # noqa: ANN401
    """Be a worker: make the environments, then answer until the parent is gone."""
    _end_with(parent)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    INSIDE.shared = inside
    try:
        environments = [build(part.config, None) for _ in range(part.count)]
        task = CpuTask(part.spec, environments, part.seed, (part.first, part.total))
    except Exception as error:  # noqa: BLE001 (an environment may raise anything)
        connection.send(_told(error))
        return
    connection.send(("", None, None))
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, OSError):
            return  # the parent closed the task
        answer: tuple[str, Any, int | None]
        try:
            answer = "", _call(task, name, arguments), None
        except (InputError, NonFiniteError, TaskError, ValueError) as error:
            answer = _told(error)
        connection.send(answer)


def _call(task: CpuTask, name: str, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Call a method of the task; arrays and bytes come back in place of tensors, which would be sent as open files."""
    if name == "step":
        result = task.step(torch.from_numpy(arguments[0]))
        parts = (
            getattr(result, field.name) for field in fields(result) if field.name != "failed"
        )  # it raises
        return tuple(part.numpy() for part in parts), task.unstable_steps
    if name == "reset":
        return task.reset().numpy()
    if name == "state":
        buffer = io.BytesIO()
        torch.save(task.state(), buffer)
        return buffer.getvalue()
    if name == "restore":
        return task.restore(torch.load(io.BytesIO(arguments[0]), weights_only=True))
    return task.reseed(*arguments)


def _told(error: Exception) -> tuple[str, str, int | None]:
    """Return an error as it is sent: kind, text, number of the environment."""
    return type(error).__name__, str(error), getattr(error, "environment", None)


def _end_with(parent: int) -> None:
    """Let Linux kill this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit("the parent process ended")
