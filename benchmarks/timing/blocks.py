"""Calls timed in turn, block by block, so that whatever else runs on the machine meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Call = Callable[[], object]

WARM_UPS = 3
"""Calls before the first block; the first one may compile."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of numbers, one a round."""

    low: float
    median: float
    high: float

    def shown(self, format_spec: str, scale: float = 1.0) -> str:
        """Return "median (lower quartile to upper quartile)", each times `scale`."""
        low, middle, high = (
            format(scale * number, format_spec) for number in (self.low, self.median, self.high)
        )
        return f"{middle} ({low} to {high})"


def spread(numbers: Sequence[float]) -> Spread:
    """Return median and quartiles; of a single number three times itself."""
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0])
    return Spread(*statistics.quantiles(numbers, n=4, method="inclusive"))


def ratio(of: Sequence[float], to: Sequence[float]) -> Spread:
    """Return the spread of the ratio of two contenders' times, taken round by round."""
    return spread([a / b for a, b in zip(of, to, strict=True)])


def in_turn(
    calls: Mapping[str, Call], rounds: int, seconds: float, device: torch.device
) -> dict[str, list[float]]:
    """Return the mean seconds of a call in each round.

    A round has a block of each contender in turn; every second round goes through them backwards, so that a machine
    that gets slower or faster favours none.

    Args:
        calls: contenders by name.
        rounds: blocks of each.
        seconds: length of a block; it has at least one call.
        device: what a block waits for at its end.
    """
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        order = list(calls) if number % 2 == 0 else list(reversed(calls))
        for name in order:
            times[name].append(_block(calls[name], seconds, device))
    return times


def _block(call: Call, seconds: float, device: torch.device) -> float:
    """Return the mean seconds of a call."""
    _wait(device)
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < seconds:
        call()
        count += 1
    _wait(device)
    return (time.perf_counter() - start) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
