"""Numbers of the tasks of all workers as one row of metrics.csv."""

from __future__ import annotations

from typing import Any


class Counted:
    """Means of reward terms over the segments since the last row, and counts over all workers so far."""

    def __init__(self) -> None:
        self._means: dict[str, list[float]] = {}
        self._counts: dict[tuple[int, int], dict[str, float]] = {}
        self._before: dict[str, float] = {"rollout/unstable_steps": 0.0}

    def take(self, slot: int, incarnation: int, numbers: dict[str, float]) -> None:
        """Take the numbers of one segment; its counts are those since the worker began."""
        terms = {name: value for name, value in numbers.items() if name.startswith("reward/")}
        for name, value in terms.items():
            self._means.setdefault(name, []).append(value)
        counts = {name: value for name, value in numbers.items() if name not in terms}
        self._counts[slot, incarnation] = counts

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a row; a mean is NaN if no segment came since the row before."""
        means = {
            name: sum(values) / len(values) if values else float("nan")
            for name, values in self._means.items()
        }
        self._means = {name: [] for name in self._means}
        return {**self._totals(), **means}

    def _totals(self) -> dict[str, float]:
        totals = dict(self._before)
        for counts in self._counts.values():
            for name, value in counts.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def state(self) -> dict[str, Any]:
        """Return the counts so far, and the names of the means."""
        return {"totals": self._totals(), "means": list(self._means)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting where `state` was called, with new workers."""
        self._before, self._counts = dict(state["totals"]), {}
        self._means = {name: [] for name in state["means"]}
