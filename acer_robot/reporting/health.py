"""Which numbers of a run are outside of their healthy range, at its end and while it goes on."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from acer_robot.metrics import healthy_range, is_never_zero, metric
from acer_robot.reporting.contents import known
from acer_robot.run_folder.tables import Table

ROWS = 3
"""Fewest rows at the end of a run that are judged."""
FIRST_ROWS, LATE_ROWS = 10, 100
"""Rows after which a run that goes on is judged, and rows at its end that count. A number is always zero if it is so
in LATE_ROWS rows."""


class Reading(NamedTuple):
    """A number at the end of a run, and where a healthy run has it."""

    name: str
    level: float
    """Median over the last tenth of the rows."""
    low: float
    high: float
    always_zero: bool = False
    """Whether the number is 0 in every row, and should not be."""

    @property
    def sick(self) -> bool:
        """Whether the number is outside of its range."""
        return self.always_zero or not self.low <= self.level <= self.high

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""
        return self.sentence_of("over the last tenth of the run")

    def sentence_of(self, when: str) -> str:
        """Say what is wrong, and when: "over the last tenth of the run"."""
        if self.always_zero:
            return f"{self.name} is 0 in every row."
        side, limit = ("below", self.low) if self.level < self.low else ("above", self.high)
        return f"{self.name} is {self.level:.3g} {when}, {side} {limit:.3g}."

    @property
    def hint(self) -> str:
        """What the number means and what to do."""
        number = metric(self.name)
        return number.healthy if number else ""


def readings(metrics: Table, evaluations: Table, learner: Mapping[str, Any]) -> dict[str, Reading]:
    """Return a reading of every number that has a value in the last tenth of a run."""
    levels = {}
    for name, values in (metrics | evaluations).items():
        tail = known(values[-max(ROWS, len(values) // 10) :])
        if name not in ("step", "seconds") and tail:
            levels[name] = statistics.median(tail)
    return {
        name: Reading(
            name,
            level,
            *healthy_range(name, learner, levels),
            _always_zero(name, metrics.get(name, []), learner),
        )
        for name, level in levels.items()
    }


def _always_zero(name: str, values: list[float], learner: Mapping[str, Any]) -> bool:
    return is_never_zero(name, learner) and len(values) >= LATE_ROWS and not any(values)


class Watch:
    """Judges a run while it goes on, and says once of each number that it looks sick."""

    def __init__(self, learner: Mapping[str, Any]) -> None:
        self._learner = learner
        self._rows: dict[str, deque[float]] = {}
        self._warned: set[str] = set()

    def new_warnings(self, step: int, row: Mapping[str, float], evaluations: Table) -> list[str]:
        """Take a row of metrics.csv; return a line on each number that looks sick for the first time."""
        for name, value in {"step": step, **row}.items():
            self._rows.setdefault(name, deque(maxlen=LATE_ROWS)).append(value)
        if len(self._rows["step"]) < FIRST_ROWS:
            return []
        # The median of the last rows: those of a tenth of what is kept.
        found = readings({name: list(kept) for name, kept in self._rows.items()}, evaluations, self._learner)
        sick = [reading for name, reading in found.items() if reading.sick and name not in self._warned]
        self._warned |= {reading.name for reading in sick}
        when = f"at step {step:,}"
        return [f"warning: {reading.sentence_of(when)} Healthy: {reading.hint}." for reading in sick]
