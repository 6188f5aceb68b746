"""Which numbers of a run are outside of their healthy range at its end."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

from acer_robot.metrics import METRICS, healthy_range
from acer_robot.reporting.contents import known
from acer_robot.run_folder.tables import Table

ROWS = 3
"""Fewest rows at the end of a run that are judged."""


class Reading(NamedTuple):
    """A number at the end of a run, and where a healthy run has it."""

    name: str
    level: float
    """Median over the last tenth of the rows."""
    low: float
    high: float

    @property
    def sick(self) -> bool:
        """Whether the number is outside of its range."""
        return not self.low <= self.level <= self.high

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""
        side, limit = ("below", self.low) if self.level < self.low else ("above", self.high)
        return f"{self.name} is {self.level:.3g} over the last tenth of the run, {side} {limit:.3g}."

    @property
    def hint(self) -> str:
        """What the number means and what to do."""
        return METRICS[self.name].healthy if self.name in METRICS else ""


def readings(metrics: Table, evaluations: Table, learner: Mapping[str, Any]) -> dict[str, Reading]:
    """Return a reading of every number that has a value in the last tenth of a run."""
    levels = {}
    for name, values in (metrics | evaluations).items():
        tail = known(values[-max(ROWS, len(values) // 10) :])
        if name not in ("step", "seconds") and tail:
            levels[name] = statistics.median(tail)
    return {
        name: Reading(name, level, *healthy_range(name, learner, levels)) for name, level in levels.items()
    }
