"""Workers as Ray actors. Ray pickles the actor's class by its name alone; data goes through the object store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from acer_robot.distributed.cluster import connect, disconnect, is_connected
from acer_robot.distributed.remote_collector import WorkerLost
from acer_robot.distributed.segment import Weights
from acer_robot.distributed.worker import Worker
from acer_robot.errors import InputError, NonFiniteError, TaskError, first_line
from acer_robot.schema import TrainConfig


class RayWorkers:
    """One actor a slot, on any node of the cluster; each takes one CPU."""

    def __init__(self, config: TrainConfig) -> None:
        """Connect to the cluster.

        Raises:
            InputError: if that is not possible.
        """
        self._is_own = not is_connected()
        self._ray = connect(config.collector)
        self._config = dataclasses.asdict(config)
        # Neither an actor nor a call is repeated by Ray: the learner counts, so that no segment comes twice.
        self._actor: Any = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker)
        self._actors: dict[int, Any] = {}

    def start(self, slot: int, incarnation: int) -> object:
        """Start an actor; return the ticket of its `hello`."""
        self._actors[slot] = self._actor.remote(self._config, slot, incarnation)
        ticket: object = self._actors[slot].hello.remote()
        return ticket

    def publish(self, weights: Weights) -> object:
        """Put weights into the object store, once for all workers of a node."""
        handle: object = self._ray.put(weights)
        return handle

    def collect(self, slot: int, sequence: int, version: int, weights: object | None) -> object:
        """Ask an actor for a segment; return its ticket."""
        ticket: object = self._actors[slot].collect.remote(sequence, version, weights)
        return ticket

    def wait(self, tickets: list[object], seconds: float) -> object | None:
        """Return the first ticket whose answer is there; None if none came in time."""
        ready, _ = self._ray.wait(tickets, num_returns=1, timeout=seconds)
        return ready[0] if ready else None

    def answer(self, ticket: object) -> dict[str, Any]:
        """Return the answer of a ticket.

        Raises:
            WorkerLost: if the actor or its node is gone.
            TaskError, NonFiniteError, InputError: if it could not do what was asked.
        """
        return answer_of(lambda: self._ray.get(ticket))

    def stop(self, slot: int) -> None:
        """Kill an actor."""
        if slot in self._actors:
            self._ray.kill(self._actors.pop(slot), no_restart=True)

    def close(self) -> None:
        """Kill all actors, and leave the cluster if `__init__` connected to it. Later calls do nothing."""
        if is_connected():
            for slot in list(self._actors):
                self.stop(slot)
            if self._is_own:
                disconnect()
        self._actors.clear()


def answer_of(get: Callable[[], Any]) -> dict[str, Any]:
    """Return what `get` returns, and raise what a worker raised as it would be raised here.

    Raises:
        WorkerLost: if the process or its node is gone, or the answer with it.
        TaskError, NonFiniteError, InputError: if the worker raised it, with Ray's traceback as the cause.
    """
    from ray import exceptions

    try:
        answer: dict[str, Any] = get()
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, TaskError | NonFiniteError | InputError):
            raise type(cause)(f"in a Ray worker: {cause}") from error
        raise TaskError(f"in a Ray worker: {type(cause).__name__}: {cause}") from error
    except exceptions.RayError as error:
        raise WorkerLost(first_line(error)) from error
    return answer
