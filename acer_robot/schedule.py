"""When things are due: batches by the replay ratio, logs and evaluations by environment steps, seconds of learning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from acer_robot.config import LearnerConfig
from acer_robot.replay import Replay
from acer_robot.trajectory import Trajectory


def updates_per_transition(options: LearnerConfig) -> float:
    """Return how many updates a collected transition asks for, so that it is replayed `replay_ratio` times."""
    return options.replay_ratio / (options.segment_length * options.segments)


def annealed(updates: int, start: int, length: int) -> float:
    """Return f, how much of the way to its final value an annealed option has gone, from 0 to 1.

    `f = (updates - start) / length`, clipped. Not in the paper, whose std and learning rate are constants.
    """
    return min(1.0, max(0.0, (updates - start) / length))


def std_min_after(options: LearnerConfig, updates: int) -> float:
    """Return the lower limit of a learned standard deviation after so many updates.

    `std_min^(1 - f) std_min_final^f`: wide noise finds a gait, narrow noise refines it.
    """
    if options.std_min_final is None:
        return options.std_min
    f = annealed(updates, options.annealing_start, options.annealing_updates)
    return float(options.std_min ** (1.0 - f) * options.std_min_final**f)


def entropy_target_after(options: LearnerConfig, updates: int) -> float | None:
    """Return the entropy in nats per joint that the temperature is tuned towards after so many updates, if any.

    `(1 - f) entropy_target + f entropy_target_final`.
    """
    if options.entropy_target is None or options.entropy_target_final is None:
        return options.entropy_target
    f = annealed(updates, options.annealing_start, options.annealing_updates)
    return (1.0 - f) * options.entropy_target + f * options.entropy_target_final


def lr_after(options: LearnerConfig, updates: int) -> float:
    """Return the learning rate after so many updates.

    `(1 - f) lr + f lr_final`, f on a schedule of its own.
    """
    if options.lr_final is None:
        return options.lr
    f = annealed(updates, options.lr_annealing_start, options.lr_annealing_updates)
    return (1.0 - f) * options.lr + f * options.lr_final


def deployed_alpha_after(options: LearnerConfig, updates: int) -> float:
    """Return alpha of the policy that is evaluated and exported, after so many updates.

    `min(deployed_alpha, (1 + n) / (10 + n))`, or the paper's constant alpha. An average over thousands of updates would
    for as long be mostly the untrained start; so it looks back on some tenth of the training at first.

    Source: the rule of TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    """
    if options.deployed_alpha is None:
        return options.alpha
    return min(options.deployed_alpha, (1 + updates) / (10 + updates))


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

    def due(self, transitions: int) -> Iterator[Trajectory]:
        """Yield the batches that are due now that `transitions` have been collected, each drawn when asked for."""
        replay, options = self._replay, self._options
        if not options.on_policy:
            for _ in range(self._schedule.updates(transitions)):
                yield replay.sample(options.segments)
        elif transitions % (options.segment_length * replay.num_envs) == 0:
            for first in range(0, replay.num_envs, options.segments):
                yield replay.latest(first, options.segments)


class Every:
    """True once for each multiple of `interval` that is reached or passed."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._next = interval

    def __call__(self, step: int) -> bool:
        """Return whether a multiple was reached since the last call that returned True."""
        if step < self._next:
            return False
        self._next = (step // self._interval + 1) * self._interval
        return True


class Stopwatch:
    """Seconds of learning: the wall clock, or another, without what happens inside `paused()`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()
        self._paused = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since construction, pauses left out."""
        return self._clock() - self._start - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside."""
        start = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - start
