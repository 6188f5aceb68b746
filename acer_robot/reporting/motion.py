"""How the robot moves, in a report: joints, feet on the ground and terms of the reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from acer_robot.reporting.charts import gait_chart, motion_chart, terms_chart
from acer_robot.reporting.page import chart, wide_and_narrow
from acer_robot.run_folder.recording import Recording, Traces

SHOWN_SECONDS, SHOWN_COMMANDS = 5.0, 250
SHOWN_JOINTS = 24

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Foot:
    """How a foot touches the ground."""

    name: str
    share: float
    """Share of the commands after which it touches."""
    steps_a_second: float
    """How often it comes down, a second."""


@dataclass(frozen=True)
class Term:
    """A term of the reward."""

    name: str
    total: float
    """Its sum over an episode, on average over the recorded parts of episodes."""


@dataclass(frozen=True)
class Motion:
    """What the report shows of how the robot moves; a part that was not recorded is empty or None."""

    joints: Sequence[Markup]
    joints_left_out: int
    feet: Sequence[Foot]
    gait: Markup | None
    terms: Sequence[Term]
    term_chart: Markup | None


def read_motion(recording: Recording, dt: float) -> Motion:
    """Return charts and tables of what was recorded beside observations and commands; `dt` is the control step."""
    first = recording.episodes()[0]
    shown = slice(
        first.start, min(first.stop, first.start + min(SHOWN_COMMANDS, round(SHOWN_SECONDS / dt) + 1))
    )
    seconds = (1 + np.arange(shown.stop - shown.start)) * dt
    joints, feet, terms = recording.joints, recording.feet, recording.terms
    return Motion(
        joints=[] if joints is None else _joints(joints, seconds, shown, first),
        joints_left_out=0 if joints is None else max(0, len(joints.names) - SHOWN_JOINTS),
        feet=[] if feet is None else measure_feet(recording, feet, dt),
        gait=None
        if feet is None
        else wide_and_narrow(
            lambda size: gait_chart(feet.names, seconds, feet.values[shown], size),
            "gait",
            "When each foot touches the ground",
        ),
        terms=[]
        if terms is None
        else [
            Term(name, float(terms.values[:, i].sum()) / len(recording.lengths))
            for i, name in enumerate(terms.names)
        ],
        term_chart=None
        if terms is None
        else wide_and_narrow(
            lambda size: terms_chart(terms.names, seconds, terms.values[shown], size),
            "terms",
            "Terms of the reward over time",
        ),
    )


def measure_feet(recording: Recording, feet: Traces, dt: float) -> list[Foot]:
    """Return how much of the time each foot touches the ground, and how often it comes down."""
    touches = feet.values > 0.5
    down = sum((np.diff(touches[rows].astype(int), axis=0) > 0).sum(axis=0) for rows in recording.episodes())
    seconds = len(touches) * dt
    return [
        Foot(name, float(touches[:, i].mean()), float(np.atleast_1d(down)[i] / seconds))
        for i, name in enumerate(feet.names)
    ]


def _joints(joints: Traces, seconds: FloatArray, shown: slice, first: slice) -> list[Markup]:
    count = len(joints.names)
    charts = []
    for i, (name, unit) in enumerate(list(zip(joints.names, joints.units, strict=True))[:SHOWN_JOINTS]):
        position, velocity = joints.values[:, i], joints.values[:, count + i]
        svg = motion_chart(
            name, unit, seconds, (position[shown], velocity[shown]), (position[first], velocity[first])
        )
        label = f"Position and velocity of {name} over time, and its phase plot"
        charts.append(chart(svg, f"motion{i}", label))
    return charts
