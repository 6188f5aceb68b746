"""Situations of the safety layer with what it must answer, shared by Python and C++ (docs/driving.md, Situations).

`python -m acer_robot.deployment.situations OUT.json` writes them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from acer_robot.deployment.json_values import json_ready
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.limits import Limits
from acer_robot.deployment.safety import MODES, RAMP_OUT, Inputs, Output, State, tick

TOLERANCE = 1e-12
"""Largest difference of a command, relative to max(1, |command|)."""
DT = 0.02
SHORT = Options(
    ramp_in=0.1, hold=0.05, start_limit=0.19, late_ticks=4, nan_ticks=3, frozen_ticks=6, far_limit=5.0
)
"""Short times, so that a situation needs few ticks."""

Ticks = list[Inputs]


def robots() -> dict[str, Limits]:
    """Return limits of robots: without slew limits, with some, with all, and with odd bounds."""
    mean, std = [0.0, 1.0, -2.0], [1.0, 0.5, 2.0]
    inf, strict = math.inf, dataclasses.replace(SHORT, far_ticks=3)
    return {
        "free": Limits([-1.0, -2.0], [1.0, 2.0], [0.0, 0.5], DT, [inf, inf], mean, std, SHORT),
        "mixed": Limits([-1.0, -2.0], [1.0, 2.0], [0.0, 0.5], DT, [inf, 4.0], mean, std, SHORT),
        "slow": Limits([-1.0, -2.0], [1.0, 2.0], [0.25, -0.5], DT, [3.0, 1.5], mean, std, strict),
        "odd": Limits(
            [-1e6, 0.125, -3.0], [1e6, 0.125, -1.0], [0.0, 0.125, -1.5], DT, [inf, inf, 0.3], options=SHORT
        ),
    }


class Story:
    """Ticks in a row, with a clock that runs at the control rate and observations that are fresh."""

    def __init__(self, limits: Limits, seed: int = 0) -> None:
        self.limits, self.ticks = limits, Ticks()
        self._random, self._now = np.random.default_rng(seed), 100.0
        self._width = limits.mean.size or 2

    def tick(self, periods: float = 1.0, age: float | None = 0.004, **changes: Any) -> Story:  # noqa: ANN401
        """Add one tick; age None: no observation arrived. `changes` replace its inputs."""
        self._now += periods * self.limits.dt
        random, limits = self._random, self.limits
        observation = random.normal(size=self._width).astype(np.float32)
        middle, reach = 0.5 * (limits.low + limits.high), np.maximum(0.7 * (limits.high - limits.low), 0.1)
        policy = (middle + reach * random.uniform(-1.0, 1.0, limits.width)).astype(np.float32)
        inputs = Inputs(self._now)
        if age is not None:
            inputs = dataclasses.replace(
                inputs, observation=observation, stamp=self._now - age, policy=policy
            )
        self.ticks.append(dataclasses.replace(inputs, **changes))
        return self

    def good(self, count: int, **changes: Any) -> Story:  # noqa: ANN401
        """Add ticks with a fresh observation."""
        for _ in range(count):
            self.tick(**changes)
        return self

    def lost(self, count: int, **changes: Any) -> Story:  # noqa: ANN401
        """Add ticks without an observation."""
        for _ in range(count):
            self.tick(age=None, **changes)
        return self

    def until(self, mode: str) -> Story:
        """Add the ticks that lead a new start to a mode."""
        before = {"idle": 0, "ramp_in": 3}.get(mode, 8)
        self.good(before)
        if mode == "holding":
            self.lost(2)
        if mode in ("ramp_out", "stopped"):
            self.good(1, stops=1)
        if mode == "stopped":
            while run(self.limits, self.ticks)[-1].state.mode == RAMP_OUT:
                self.good(1, stops=1)
        return self


def run(limits: Limits, ticks: Iterable[Inputs]) -> list[Output]:
    """Return what the layer says at each tick after a new start."""
    outputs, state = [], State()
    for inputs in ticks:
        outputs.append(tick(limits, state, inputs))
        state = outputs[-1].state
    return outputs


def situations() -> dict[str, tuple[Limits, Ticks]]:
    """Return every situation by name."""
    found: dict[str, tuple[Limits, Ticks]] = {}
    for robot, limits in robots().items():
        for name, story in {**_requests(limits), **_observations(limits), **_times(limits)}.items():
            found[f"{robot}: {name}"] = (limits, story.ticks)
        for seed in range(6):
            found[f"{robot}: everything at once {seed}"] = (limits, _chaos(limits, seed).ticks)
    return found


def _requests(limits: Limits) -> dict[str, Story]:
    """Stops, errors and the end of time in every mode, and where the ramp-in starts."""
    odd = np.where(np.arange(limits.width) % 2 == 0, np.nan, limits.high + limits.start_margin)
    far_off = limits.low - 2.0 * limits.start_margin
    stories = {
        "a whole drive": Story(limits).good(20).good(60, end=True),
        "starts where the robot is": Story(limits).good(12, measured=limits.high.copy()),
        "starts from an odd measurement": Story(limits).good(12, measured=odd),
        "stands far outside its bounds": Story(limits).lost(2).good(3, measured=far_off),
        "infinitely far": Story(limits).good(3, measured=np.full(limits.width, math.inf)),
    }
    asked: dict[str, dict[str, Any]] = {
        "stop": {"stops": 1},
        "second stop": {"stops": 2},
        "emergency": {"emergency": True},
        "error": {"error": True},
        "end": {"end": True},
        "emergency and stop and error": {"emergency": True, "stops": 1, "error": True},
    }
    for mode in MODES:
        for name, changes in asked.items():
            story = Story(limits, 1).until(mode).good(1, **changes).good(5)
            stories[f"{name} in {mode}"] = story
    stories["stop, then a second one"] = Story(limits).good(9).good(2, stops=1).good(6, stops=2).good(4)
    return stories


def _observations(limits: Limits) -> dict[str, Story]:
    """Observations that are lost, late, repeated, reordered, not finite, frozen or far."""
    width = limits.mean.size or 2
    nan, frozen = np.full(width, np.nan, np.float32), np.full(width, 0.5, np.float32)
    one, far = frozen.copy(), np.full(width, 40.0, np.float32)
    one[-1] = np.inf
    no_command = np.full(limits.width, np.nan, np.float32)
    stories = {
        "three lost": Story(limits).good(9).lost(3).good(5),
        "two lost in the ramp-in": Story(limits).good(2).lost(2).good(8),
        "all lost": Story(limits).good(9).lost(40),
        "none ever": Story(limits).lost(14),
        "late by three periods": Story(limits).good(6).good(8, age=0.06),
        "too old": Story(limits).good(6).lost(2).good(8, age=0.19),
        "old at the start": Story(limits).good(3, age=0.3).good(8),
        "repeated": Story(limits).good(6).good(9, stamp=100.0 + 6 * DT),
        "a stamp from the future": Story(limits).good(6).good(2, age=-0.5).good(4),
        "a stamp that is no number": Story(limits).good(6).good(2, stamp=math.nan).good(4),
        "nan rows, then good": Story(limits).good(6).good(2, observation=nan).good(5),
        "nan rows": Story(limits).good(6).good(8, observation=nan),
        "an infinite entry": Story(limits).good(6).tick(observation=one).good(5),
        "nan from the start": Story(limits).good(6, observation=nan),
        "the policy gives nan": Story(limits).good(6).good(5, policy=no_command),
        "the policy is silent": Story(limits).good(6).good(5, policy=None),
        "frozen values": Story(limits).good(6).good(12, observation=frozen),
        "far, and back": Story(limits).good(6).good(3, observation=far).good(5),
        "a huge policy": Story(limits).good(8, policy=np.full(limits.width, 3e38, np.float32)),
    }
    reordered = Story(limits).good(6).tick(age=0.05).tick(age=0.001).tick(age=0.03).good(4)
    return {**stories, "reordered": reordered}


def _times(limits: Limits) -> dict[str, Story]:
    """Ticks that are late, a stall, and clocks that are wrong."""
    return {
        "late ticks": Story(limits).good(6).good(7, periods=1.4),
        "late, and in time again": Story(limits).good(6).good(3, periods=1.4).good(6),
        "a stall": Story(limits).good(6).tick(periods=9.0).good(6),
        "a late start": Story(limits).lost(2, periods=3.0).good(8),
        "the clock stands": Story(limits).good(6).tick(periods=0.0).good(6),
        "the clock goes back": Story(limits).good(6).tick(periods=-3.0).good(6),
        "the clock is no number": Story(limits).good(6).tick(now=math.nan).good(6),
        "the clock breaks in the ramp-out": Story(limits, 1).until("ramp_out").good(60, now=math.inf),
    }


def _chaos(limits: Limits, seed: int) -> Story:
    """Everything at random: faults are rare at first, and a stop comes at the end."""
    story, random = Story(limits, seed + 10), np.random.default_rng(seed + 100)
    width = limits.mean.size or 2
    for number in range(60):
        changes: dict[str, Any] = {}
        fault = random.random()
        age: float | None = 0.03 * float(random.random())
        if fault < 0.1:
            age = None
        elif fault < 0.14:
            changes["observation"] = np.full(width, np.nan, np.float32)
        elif fault < 0.18:
            changes["observation"] = np.full(width, 1e30, np.float32)
        elif fault < 0.2:
            changes["policy"] = np.full(limits.width, -np.inf, np.float32)
        changes["stops"] = int(number > 45 + seed)
        changes["error"] = bool(random.random() < 0.004)
        story.tick(1.0 + 0.5 * float(random.random() < 0.15), age, **changes)
    return story


def to_dict(found: Mapping[str, tuple[Limits, Ticks]]) -> dict[str, Any]:
    """Return situations as docs/driving.md describes their file."""
    return {
        "format": "acer_robot situations",
        "version": 1,
        "tolerance": TOLERANCE,
        "situations": [
            {
                "name": name,
                "limits": json_ready(limits.to_dict()),
                "ticks": [
                    _tick_to_dict(inputs, output)
                    for inputs, output in zip(ticks, run(limits, ticks), strict=True)
                ],
            }
            for name, (limits, ticks) in found.items()
        ],
    }


def _tick_to_dict(inputs: Inputs, output: Output) -> dict[str, Any]:
    values = {field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)}
    expect = {
        "mode": output.state.mode,
        "command": output.command,
        "cause": output.state.cause,
        "done": output.done,
        "far_total": output.state.far_total,
    }
    ready: dict[str, Any] = json_ready({**values, "expect": expect})
    return ready


def main(path: str) -> None:
    """Write the situations to a file."""
    Path(path).write_text(json.dumps(to_dict(situations()), allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
