"""Workers and evaluations in other processes of this machine, without Ray: requests and answers go through pipes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from multiprocessing.connection import Connection, wait
from typing import Any

from acer_robot.distributed.evaluation import RETRIES, Evaluation, evaluate
from acer_robot.distributed.remote_collector import WorkerLost
from acer_robot.distributed.segment import Weights, weights_of
from acer_robot.distributed.worker import Worker
from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.learner.learner import Learner
from acer_robot.schema import TrainConfig

NAME = "acer-collector"
"""Name of the processes that collect."""
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (InputError, NonFiniteError, TaskError)
}
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or a cluster sends to all processes: the learner obeys them and ends the others."""


class Process:
    """A process that answers requests in their order."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True, name=name)
        self._process.start()
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 (numbers, texts and arrays)
        """Send a request; if the process is gone, the answer tells."""
        try:
            self.connection.send((name, arguments))
        except OSError:
            return

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer and return it.

        Raises:
            WorkerLost: if the process is gone.
            TaskError, NonFiniteError, InputError: if it could not do what was asked.
        """
        try:
            kind, value = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(5.0)
            raise WorkerLost(f"its process ended with status {self._process.exitcode}") from None
        if kind:
            raise _ERRORS[kind](f"in a worker process: {value}")
        answer: dict[str, Any] = value
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Answer requests until the learner is gone."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    requests: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, requests), daemon=True).start()
    worker: Worker | None = None
    while True:
        name, arguments = requests.get()
        answer: tuple[str, Any]
        try:
            if name == "start":
                worker = Worker(*arguments)
                answer = "", worker.hello()
            elif name == "collect":
                assert worker is not None
                answer = "", worker.collect(*arguments)
            else:
                answer = "", evaluate(*arguments)
        except (InputError, NonFiniteError, TaskError) as error:
            answer = type(error).__name__, str(error)
        except Exception as error:  # noqa: BLE001 (an environment may raise anything)
            answer = "TaskError", f"{type(error).__name__}: {error}"
        connection.send(answer)


def _read(connection: Connection, requests: queue.SimpleQueue[tuple[str, tuple[Any, ...]]]) -> None:
    """Take requests from the pipe at once, so that the learner never waits to send one."""
    while True:
        try:
            requests.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)  # the learner closed the pipe, or is gone


class ProcessWorkers:
    """One process a slot."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = dataclasses.asdict(config)
        self._processes: dict[int, Process] = {}
        self._asked = 0

    def start(self, slot: int, incarnation: int) -> object:
        """Start a process; return the ticket of its `hello`."""
        self._processes[slot] = Process(NAME)
        self._processes[slot].ask("start", self._config, slot, incarnation)
        return self._ticket(slot)

    def _ticket(self, slot: int) -> tuple[int, int]:
        self._asked += 1
        return slot, self._asked

    def publish(self, weights: Weights) -> object:
        """Return the weights: they go through the pipe with a request."""
        return weights

    def collect(self, slot: int, sequence: int, version: int, weights: object | None) -> object:
        """Ask a process for a segment; return its ticket."""
        self._processes[slot].ask("collect", sequence, version, weights)
        return self._ticket(slot)

    def wait(self, tickets: list[Any], seconds: float) -> object | None:
        """Return the first ticket whose answer is there; None if none came in time. Of a slot, its oldest counts."""
        ready = wait([self._processes[slot].connection for slot, _ in tickets], seconds)
        return next((ticket for ticket in tickets if self._processes[ticket[0]].connection in ready), None)

    def answer(self, ticket: Any) -> dict[str, Any]:  # noqa: ANN401 (of `_ticket`)
        """Return the answer of the oldest ticket of a slot.

        Raises:
            WorkerLost: if the process is gone.
            TaskError, NonFiniteError, InputError: if it could not do what was asked.
        """
        return self._processes[ticket[0]].answer()

    def stop(self, slot: int) -> None:
        """Kill a process."""
        if slot in self._processes:
            self._processes.pop(slot).end()

    def close(self) -> None:
        """Kill all processes. Later calls do nothing."""
        for slot in list(self._processes):
            self.stop(slot)


class ProcessEvaluations:
    """Evaluations in one more process, one after another."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = dataclasses.asdict(config)
        self._process: Process | None = None
        self._open: deque[Evaluation] = deque()
        self._lost = 0

    def __len__(self) -> int:
        """Return how many are on their way."""
        return len(self._open)

    def begin(self, step: int, seconds: float, seed: int, learner: Learner, state: dict[str, Any]) -> None:
        """Send the present policies out to be evaluated."""
        order = (self._config, seed, weights_of(learner.exported_policy), weights_of(learner.policy))
        self._open.append(Evaluation(step, seconds, state, order))
        if self._process is None:
            self._process = Process("acer-evaluation")
        self._process.ask("evaluate", *order)

    def repeat(self) -> None:
        """Send all that is on its way out again, to a new process."""
        self._end()
        self._process = Process("acer-evaluation")
        for evaluation in self._open:
            self._process.ask("evaluate", *evaluation.order)

    def finished(self, seconds: float = 0.0) -> Evaluation | None:
        """Return the oldest evaluation if its result is there within `seconds`; it is then no longer on its way.

        One that failed stays: `repeat` sends it out again.

        Raises:
            TaskError: if an environment failed, or the process was lost RETRIES times.
            InputError: if an episode does not end.
        """
        if not self._open or self._process is None or not self._process.connection.poll(seconds):
            return None
        try:
            numbers = self._process.answer()
        except WorkerLost as error:
            self._lost += 1
            if self._lost > RETRIES:
                raise TaskError(f"the evaluation of step {self._open[0].step:,} was lost: {error}") from error
            print(
                f"the evaluation of step {self._open[0].step:,} is lost: {error}; it is repeated", flush=True
            )
            self.repeat()
            return None
        self._lost, first = 0, self._open.popleft()
        first.row = {"seconds": first.seconds, **numbers}
        return first

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def close(self) -> None:
        """Drop what is on its way. Later calls do nothing."""
        self._open.clear()
        self._end()
