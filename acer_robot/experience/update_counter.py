"""Which updates are due: batches by the replay ratio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.schema import LearnerConfig


def updates_per_transition(options: LearnerConfig) -> float:
    """Return how many updates a collected transition asks for, so that it is replayed `replay_ratio` times.

    On policy each transition is used once, whatever `replay_ratio` says.
    """
    uses = 1.0 if options.on_policy else options.replay_ratio
    return uses / (options.segment_length * options.segments)


class UpdateSchedule:
    """Counts updates so that each collected transition is replayed `replay_ratio` times on average.

    A paper's setting of 4 means four replayed segments for each collected one. Until `learning_starts` transitions are
    there, none are due, and none are made up for later.
    """

    def __init__(self, options: LearnerConfig, seed: int) -> None:
        self._options = options
        self._random = np.random.default_rng(seed)
        self._seen = 0
        self._owed = 0.0

    def state(self) -> dict[str, Any]:
        """Return counters and generator."""
        return {"seen": self._seen, "owed": self._owed, "random": self._random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was called."""
        self._seen, self._owed = state["seen"], state["owed"]
        self._random.bit_generator.state = state["random"]

    def updates(self, transitions: int) -> int:
        """Return how many updates are due now that `transitions` have been collected in all."""
        options = self._options
        new, self._seen = transitions - self._seen, transitions
        if transitions < options.learning_starts:
            return 0
        due = new * updates_per_transition(options)
        if options.poisson:
            return int(self._random.poisson(due))
        self._owed += due
        count = int(self._owed)
        self._owed -= count
        return count


class Batches:
    """The batches that are due: segments drawn from the replay, or, on policy, each new segment once."""

    def __init__(self, replay: Replay, options: LearnerConfig, seed: int) -> None:
        self._replay, self._options = replay, options
        self._schedule = UpdateSchedule(options, seed)
        # Fewer are stored only where a run was resumed without its replay.
        enough = max(options.segment_length, -(-options.learning_starts // replay.num_envs))
        self._least = min(enough, replay.capacity)

    @property
    def missing(self) -> int:
        """Vector steps that the replay lacks before updates can begin."""
        return 0 if self._options.on_policy else max(0, self._least - self._replay.size)

    def state(self) -> dict[str, Any]:
        """Return the state of what counts updates; the replay gives its own."""
        return self._schedule.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was called."""
        self._schedule.restore(state)

    def due(self, transitions: int) -> Iterator[Trajectory]:
        """Yield the batches that are due now that `transitions` have been collected, each drawn when asked for."""
        replay, options = self._replay, self._options
        if not options.on_policy:
            due = self._schedule.updates(transitions)
            # Before the replay holds a segment nothing can be drawn; those updates are not made up for later.
            for _ in range(due if self.missing == 0 else 0):
                yield replay.sample(options.segments)
        elif (
            replay.size >= options.segment_length
            and transitions % (options.segment_length * replay.num_envs) == 0
        ):
            for first in range(0, replay.num_envs, options.segments):
                yield replay.latest(first, options.segments)
