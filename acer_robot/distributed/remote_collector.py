"""The learner's side of collecting with workers: requests, weights by version, and what happens when a worker is lost.

It knows no Ray: `Workers` is all that it needs of a cluster.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from acer_robot.distributed.counted import Counted
from acer_robot.distributed.segment import Segment, Weights, weights_of
from acer_robot.distributed.worker import segment_steps, versions
from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.experience.replay import Replay
from acer_robot.experience.update_counter import updates_per_transition
from acer_robot.learner.learner import Learner
from acer_robot.schema import TrainConfig
from acer_robot.spec import TaskSpec

WAIT = 0.5
"""Seconds after which `step` returns without a segment, so that the caller can look at signals."""
LONGEST_PAUSE = 60.0
"""Seconds that a replacement waits at most."""


class WorkerLost(Exception):  # noqa: N818 - it is an event, which the collector handles
    """A worker, or its node, is gone; the message says how it is known."""


class Workers(Protocol):
    """Processes that collect. A ticket stands for an answer that will come."""

    def start(self, slot: int, incarnation: int) -> object:
        """Start a worker; return the ticket of its `hello`."""

    def publish(self, weights: Weights) -> object:
        """Give all workers access to weights; return what `collect` takes."""

    def collect(self, slot: int, sequence: int, version: int, weights: object | None) -> object:
        """Ask a worker for a segment; return its ticket."""

    def wait(self, tickets: list[object], seconds: float) -> object | None:
        """Return the first of the tickets, in their order, whose answer is there; None if none came in time."""

    def answer(self, ticket: object) -> dict[str, Any]:
        """Return the answer of a ticket.

        Raises:
            WorkerLost: if the worker is gone.
            TaskError, NonFiniteError, InputError: if it could not do what was asked.
        """

    def stop(self, slot: int) -> None:
        """End a worker, whatever it does."""

    def close(self) -> None:
        """End all workers."""


@dataclass
class _Asked:
    """A request that has no answer yet."""

    ticket: object
    version: int
    number: int
    """How many requests came before."""
    since: float
    is_start: bool = False


@dataclass
class _Slot:
    """A place for one worker, and the one that has it now."""

    number: int
    incarnation: int = 0
    sequence: int = 0
    """Number of the next request."""
    expected: int = 0
    """Number of the next segment."""
    version: int = -1
    """Version of the weights that it has."""
    asked: deque[_Asked] = field(default_factory=deque)
    is_ready: bool = False
    failures: int = 0
    """How often it was lost since its last segment."""
    restart_at: float | None = None
    is_given_up: bool = False


class RemoteCollector:
    """Like `Collector`, but a step takes up one segment of one worker.

    A worker collects only what it is asked for, and is asked for at most `collector.ahead` segments that the learner
    has not taken up: this bounds the memory, and holds back workers that are faster than the learner. The learner does
    the updates that the replay ratio asks for and then waits: this holds back the learner.
    """

    def __init__(
        self,
        config: TrainConfig,
        spec: TaskSpec,
        learner: Learner,
        replay: Replay,
        workers: Workers,
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._spec, self._learner, self._replay = config.collector, spec, learner, replay
        self._workers, self._say, self._clock = workers, say, clock
        self.env_steps = 0
        """Environment steps so far, action repeat counted."""
        self.transitions = 0
        """Commands so far, over all environments."""
        self.lost = 0
        """Workers lost so far."""
        self.dropped = 0
        """Segments that were not stored: of a worker that was replaced, out of order, or torn."""
        steps = segment_steps(self._options.synchronous, self._options.segment_length)
        self._shape = (steps, config.num_envs // self._options.workers, replay.row_width)
        self._updates = self._shape[0] * self._shape[1] * updates_per_transition(config.learner)
        self.outliers = torch.zeros(spec.input_size, dtype=torch.int64, device=learner.normalizer.mean.device)
        """Values of each entry of the observation that were too far away for the statistics."""
        self.commands: deque[Tensor] = deque()
        """None: what a worker's environments were told stays there."""
        self._counted = Counted()
        self._slots = [_Slot(number) for number in range(self._options.workers)]
        self._published: tuple[int, float, object] | None = None
        self._staleness: list[int] = []
        self._bytes = 0
        self._requests = 0

    def start(self) -> None:
        """Start all workers and wait until each has said hello.

        Raises:
            InputError: if a worker cannot start, has other versions, or another task.
        """
        for slot in self._slots:
            self._begin(slot)
        deadline = self._clock() + self._options.timeout
        for slot in self._slots:
            (asked,) = slot.asked
            ticket = self._workers.wait([asked.ticket], max(0.0, deadline - self._clock()))
            if ticket is None:
                raise InputError(
                    f"worker {slot.number} of collector.workers={len(self._slots)} did not start within "
                    f"collector.timeout={self._options.timeout:g} s; the cluster must have a free CPU for each worker"
                )
            try:
                self._welcome(slot, self._workers.answer(ticket))
            except (WorkerLost, TaskError) as error:
                raise InputError(f"worker {slot.number} cannot start: {error}") from error

    def state(self) -> dict[str, Any]:
        """Return counters; workers, their episodes and the segments on their way have no state."""
        return {
            "env_steps": self.env_steps,
            "transitions": self.transitions,
            "lost": self.lost,
            "dropped": self.dropped,
            "incarnations": self.incarnations,
            "outliers": self.outliers.cpu().clone(),
            "counted": self._counted.state(),
        }

    @property
    def incarnations(self) -> list[int]:
        """Incarnation of the worker of each slot. It says which random streams the worker has."""
        return [slot.incarnation for slot in self._slots]

    def skip(self, incarnations: Sequence[int]) -> None:
        """Let `restore` start no worker with one of these incarnations or an earlier one."""
        for slot, incarnation in zip(self._slots, incarnations, strict=True):
            slot.incarnation = incarnation

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was called, with new workers. Call it instead of `start`."""
        self.env_steps, self.transitions = state["env_steps"], state["transitions"]
        self.lost, self.dropped = state["lost"], state["dropped"]
        self.outliers.copy_(state["outliers"])
        self._counted.restore(state["counted"])
        for slot, incarnation in zip(self._slots, state["incarnations"], strict=True):
            slot.incarnation = max(incarnation, slot.incarnation) + 1
        self.start()

    def numbers(self) -> dict[str, float]:
        """Return the numbers of metrics.csv since the last call."""
        staleness, self._staleness = self._staleness, []
        sent, self._bytes = self._bytes, 0
        transitions = len(staleness) * self._shape[0] * self._shape[1]
        nan = float("nan")
        return {
            **self._counted.numbers(),
            "collect/staleness_updates": max(staleness) if staleness else nan,
            "collect/staleness_mean": sum(staleness) / len(staleness) if staleness else nan,
            "collect/bytes_per_transition": sent / transitions if transitions else nan,
            "collect/workers": sum(slot.is_ready for slot in self._slots),
            "collect/lost": self.lost,
            "collect/dropped": self.dropped,
        }

    def finished(self) -> list[float]:
        """Return none: `step` returns the returns of all episodes that ended."""
        return []

    def step(self) -> list[float]:
        """Store one segment and return the returns of the episodes that ended in it; none if no segment came in time.

        Raises:
            TaskError, NonFiniteError: if an environment failed, or no worker is left.
        """
        self._restart()
        self._lose_silent()
        self._ask()
        wanted = self._wanted()
        if not wanted:
            time.sleep(0.05)
            return []
        ready = self._workers.wait([asked.ticket for _, asked in wanted], WAIT)
        if ready is None:
            return []
        slot, asked = next((slot, asked) for slot, asked in wanted if asked.ticket is ready)
        try:
            answer = self._workers.answer(ready)
            slot.asked.remove(asked)
            if slot.asked:
                slot.asked[0].since = self._clock()  # the worker began with it after the answer before
            if asked.is_start:
                self._welcome(slot, answer)
                return []
        except (WorkerLost, InputError) as error:
            self._lose(slot, str(error))
            return []
        except (TaskError, NonFiniteError):
            self._end(slot)
            raise
        return self._take(slot, Segment(**answer))

    def _take(self, slot: _Slot, segment: Segment) -> list[float]:
        """Store a segment if it is the next one of its worker, and whole."""
        due = (slot.incarnation, slot.expected)
        if (segment.incarnation, segment.sequence) != due:
            self.dropped += 1
            self._say(
                f"worker {slot.number}: segment {segment.sequence} of incarnation {segment.incarnation} is dropped, "
                f"since {slot.expected} of incarnation {slot.incarnation} is due"
            )
            return []
        if segment.rows.shape != self._shape:
            self.dropped += 1
            self._lose(slot, f"it sent a segment of shape {segment.rows.shape}, and not {self._shape}")
            return []
        slot.expected += 1
        slot.failures = 0
        self._store(slot, segment)
        self._counted.take(slot.number, slot.incarnation, segment.numbers)
        if not self._options.synchronous:
            self._ask()
        finished: list[float] = segment.returns.tolist()
        return finished

    def _store(self, slot: _Slot, segment: Segment) -> None:
        rows = torch.tensor(segment.rows, device=self.outliers.device)
        self._replay.extend(rows)
        steps = self._replay.unpack(rows)
        # Here, and not by the worker: the newest statistics say best what is an outlier.
        self.outliers += self._learner.normalizer.update(steps.observations.flatten(0, 1)).sum(0)
        self.env_steps += segment.env_steps
        self.transitions += segment.rows.shape[0] * segment.rows.shape[1]
        self._staleness.append(self._learner.updates - segment.version)
        self._bytes += segment.data_bytes

    def _ask(self) -> None:
        """Ask each worker for as many segments as it may collect ahead of the learner."""
        for slot in self._slots:
            while slot.is_ready and len(slot.asked) < self._options.ahead:
                version, weights = self._newest()
                given = None if slot.version == version and not self._options.synchronous else weights
                ticket = self._workers.collect(slot.number, slot.sequence, version, given)
                slot.asked.append(self._request(ticket, version))
                slot.version = version
                slot.sequence += 1

    def _request(self, ticket: object, version: int, is_start: bool = False) -> _Asked:
        self._requests += 1
        return _Asked(ticket, version, self._requests, self._clock(), is_start)

    def _newest(self) -> tuple[int, object]:
        """Return version and handle of the present weights; publish them if they changed."""
        updates, count = self._learner.updates, float(self._learner.normalizer.count)
        published = self._published
        # Before the first update only the observation statistics change, fast at first.
        if (
            published is None
            or published[0] != updates
            or (self._options.synchronous and published[1] != count)
            or count >= 2.0 * published[1] > 0.0
        ):
            handle = self._workers.publish(weights_of(self._learner.policy))
            published = self._published = (updates, count, handle)
        return published[0], published[2]

    def _wanted(self) -> list[tuple[_Slot, _Asked]]:
        """Return the requests whose answer may be taken up next, the oldest first.

        Each segment that is taken up brings its updates. In their order all open requests keep within
        `collector.max_staleness`. Where one out of order would let another exceed it, only the oldest may come.
        """
        open_ = [(slot, asked) for slot in self._slots for asked in list(slot.asked)[:1]]
        open_.sort(key=lambda pair: pair[1].number)
        segments = [asked for slot in self._slots for asked in slot.asked if not asked.is_start]
        segments.sort(key=lambda asked: asked.number)
        for before, asked in enumerate(segments):
            latest = self._learner.updates + (before + 1) * self._updates
            if latest - asked.version > self._options.max_staleness:
                return [pair for pair in open_ if pair[1] is segments[0]]
        return open_

    def _begin(self, slot: _Slot) -> None:
        """Start a worker in a slot."""
        slot.sequence = slot.expected = 0
        slot.version, slot.restart_at = -1, None
        ticket = self._workers.start(slot.number, slot.incarnation)
        slot.asked = deque([self._request(ticket, 0, is_start=True)])

    def _welcome(self, slot: _Slot, hello: dict[str, Any]) -> None:
        """Let a worker collect if it is as the learner.

        Raises:
            InputError: naming what differs.
        """
        own = versions()
        for name, version in hello["versions"].items():
            if version != own[name]:
                raise InputError(
                    f"worker {slot.number} ({hello['where']}) has {name} {version}, and the learner has {own[name]}; "
                    "install the same version on every node"
                )
        if hello["spec"] != self._spec.to_dict():
            raise InputError(
                f"worker {slot.number} ({hello['where']}) has another {self._spec.id} than the learner: its joints, "
                "bounds or observations differ; give every node the same files"
            )
        slot.asked.clear()
        slot.is_ready = True

    def _lose_silent(self) -> None:
        """Give up the workers that owe an answer for longer than `collector.timeout`.

        An answer that is there and waits to be taken up is not owed.
        """
        for slot in self._slots:
            is_late = slot.asked and self._clock() - slot.asked[0].since > self._options.timeout
            if is_late and self._workers.wait([slot.asked[0].ticket], 0.0) is None:
                self._lose(slot, f"no answer for collector.timeout={self._options.timeout:g} s")

    def _lose(self, slot: _Slot, reason: str) -> None:
        """Drop all that a worker owes, and plan its replacement.

        Raises:
            TaskError: if it cannot be replaced, and no other worker is left.
        """
        self._end(slot)
        slot.failures += 1
        self.lost += 1
        what = f"worker {slot.number} is lost: {reason}"
        if self._options.synchronous:
            raise TaskError(
                f"{what}; a synchronous run ends, since its numbers would be others with a new worker"
            )
        if slot.failures > self._options.retries:
            slot.is_given_up = True
            if all(other.is_given_up for other in self._slots):
                raise TaskError(f"{what}; no worker is left")
            self._say(f"{what}; it is given up after {self._options.retries} replacements")
            return
        pause = min(LONGEST_PAUSE, 2.0 ** (slot.failures - 1))
        slot.restart_at = self._clock() + pause
        self._say(f"{what}; replacement {slot.failures} of {self._options.retries} starts in {pause:g} s")

    def _end(self, slot: _Slot) -> None:
        """End the worker of a slot, and drop all that it owes."""
        self._workers.stop(slot.number)
        slot.asked.clear()
        slot.is_ready = False
        slot.incarnation += 1

    def rebuild(self) -> None:
        """Replace at once the workers whose environments failed, and those that were given up."""
        for slot in self._slots:
            if not slot.is_ready and not slot.asked and slot.restart_at is None:
                slot.failures, slot.is_given_up = 0, False
                self._begin(slot)

    def _restart(self) -> None:
        """Start the replacements that are due."""
        for slot in self._slots:
            if slot.restart_at is not None and self._clock() >= slot.restart_at:
                self._begin(slot)

    def close(self) -> None:
        """End all workers."""
        self._workers.close()
