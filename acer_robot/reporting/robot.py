"""The robot in a report: commands against bounds, smoothness, and observations against what training has seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib import mlab

from acer_robot.errors import InputError
from acer_robot.metrics import ROBOT, healthy_range
from acer_robot.reporting.charts import joint_chart, spectrum_chart
from acer_robot.reporting.motion import Foot, Motion, read_motion
from acer_robot.reporting.page import chart
from acer_robot.run_folder.recording import FILE, Recording, load_recording
from acer_robot.spec import TaskSpec

AT_LIMIT = 0.01
"""A command is at the limit within this share of the joint's range."""
FAR = 3.0
"""Standard deviations from the mean in training, beyond which an observation is rare."""
SHOWN_SECONDS, SHOWN_COMMANDS = 5.0, 250
SHOWN_JOINTS = 24
"""Joints that have a chart; the table has all of them."""
SEGMENT = 256
"""Commands of a segment whose spectra are averaged."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Joint:
    """How one joint is commanded."""

    name: str
    low: float
    high: float
    at_limit: float
    change: float
    """Mean change of a command as a share of the range."""
    change_per_second: float
    fast_share: float
    """Share of the power above a quarter of the control rate; NaN where no episode is long enough."""


@dataclass(frozen=True)
class Field:
    """How one field of the observation compares with training."""

    name: str
    unit: str
    low: float
    high: float
    farthest: float
    """Largest distance from the mean in training, in standard deviations."""
    out_of_range: float


@dataclass(frozen=True)
class Sentence:
    """One line about the robot: a number of ROBOT, its value at the worst joint or field, and a verdict."""

    name: str
    text: str
    sick: bool
    formula: str
    healthy: str


@dataclass(frozen=True)
class Robot:
    """What the report shows of the robot."""

    episodes: Sequence[str]
    joints: Sequence[Joint]
    fields: Sequence[Field]
    sentences: Sequence[Sentence]
    charts: Sequence[Markup]
    spectrum: Markup | None
    left_out: int
    """Joints without a chart of their own."""
    motion: Motion


def read_robot(run_dir: Path, policy: Mapping[str, Any]) -> Robot | None:
    """Return what export/episodes.npz tells, or None where there is no such file or no policy.json beside it.

    Raises:
        InputError: if the file is damaged.
    """
    path = run_dir / "export" / FILE
    if not policy or not path.is_file():
        return None
    spec = TaskSpec.from_dict(policy["task"])
    recording = load_recording(path, spec.observation_size, spec.action_size)
    frequencies, power = spectrum(recording, spec)
    joints = measure_joints(recording, spec, frequencies, power)
    fields = measure_fields(recording, spec, _normalizer(path.with_name("policy.json"), policy, spec))
    motion = read_motion(recording, spec.control_dt)
    drawn = sorted(sorted(range(len(joints)), key=lambda i: -joints[i].at_limit)[:SHOWN_JOINTS])
    return Robot(
        episodes=[
            f"{rows.stop - rows.start:,} commands, rewards {recording.rewards[rows].sum():,.1f}"
            + ("" if whole else ", cut before its end")
            for rows, whole in zip(recording.episodes(), recording.whole, strict=True)
        ],
        joints=joints,
        fields=fields,
        sentences=_sentences(joints, fields, motion.feet, spec.control_dt),
        charts=[_joint_chart(recording, spec, i) for i in drawn],
        spectrum=chart(spectrum_chart(frequencies, power), "spectrum", "Spectrum of the commands")
        if len(frequencies)
        else None,
        left_out=len(joints) - len(drawn),
        motion=motion,
    )


def shares_of_range(recording: Recording, spec: TaskSpec) -> FloatArray:
    """Return the commands [N, d] as shares of each joint's range: 0 at the low bound, 1 at the high one."""
    low, high = np.asarray(spec.bounds.low), np.asarray(spec.bounds.high)
    width = high - low
    return np.where(width > 0.0, (recording.commands - low) / np.where(width > 0.0, width, 1.0), 0.5)


def spectrum(recording: Recording, spec: TaskSpec) -> tuple[FloatArray, FloatArray]:
    """Return frequencies [F] in Hz without 0, and the power [F, d] of each command; empty for short episodes.

    Episodes that are shorter than the longest, and than SEGMENT commands, are left out.
    """
    segment = min(SEGMENT, int(recording.lengths.max()))
    if segment < 8:
        return np.zeros(0), np.zeros((0, spec.action_size))
    shares, columns = shares_of_range(recording, spec), []
    frequencies = np.zeros(0)
    for joint in range(spec.action_size):
        powers = []
        for rows in recording.episodes():
            if rows.stop - rows.start < segment:
                continue
            power, found = mlab.psd(
                shares[rows, joint],
                NFFT=segment,
                Fs=1.0 / spec.control_dt,
                detrend="mean",
                noverlap=segment // 2,
            )
            powers.append(np.asarray(power, np.float64)[1:])
            frequencies = np.asarray(found, np.float64)[1:]
        columns.append(np.mean(powers, axis=0))
    return frequencies, np.stack(columns, axis=1)


def measure_joints(
    recording: Recording, spec: TaskSpec, frequencies: FloatArray, power: FloatArray
) -> list[Joint]:
    """Return how each joint is commanded."""
    shares = shares_of_range(recording, spec)
    moves = np.asarray(spec.bounds.high) > np.asarray(spec.bounds.low)
    at_limit = ((shares <= AT_LIMIT) | (shares >= 1.0 - AT_LIMIT)).mean(axis=0) * moves
    changes = [np.abs(np.diff(shares[rows], axis=0)) for rows in recording.episodes()]
    every = np.concatenate(changes)
    change = every.mean(axis=0) if len(every) else np.zeros(spec.action_size)
    fast, total = np.full(spec.action_size, math.nan), power.sum(axis=0)
    if len(frequencies):
        fast = power[frequencies > 0.25 / spec.control_dt].sum(axis=0) / np.where(total > 0.0, total, 1.0)
    return [
        Joint(
            name,
            spec.bounds.low[i],
            spec.bounds.high[i],
            float(at_limit[i]),
            float(change[i]),
            float(change[i] / spec.control_dt),
            float(fast[i]),
        )
        for i, name in enumerate(spec.bounds.names)
    ]


def measure_fields(
    recording: Recording, spec: TaskSpec, normalizer: tuple[FloatArray, FloatArray] | None
) -> list[Field]:
    """Return how each field of the observation compares with the mean and deviation [n] of training."""
    found = []
    for field in spec.observation:
        seen = recording.observations[:, field.start : field.stop].astype(np.float64)
        farthest = out_of_range = float("nan")
        if normalizer is not None:
            mean, deviation = (part[field.start : field.stop] for part in normalizer)
            distance = np.abs(seen - mean) / np.maximum(deviation, 1e-12)
            farthest, out_of_range = float(distance.max()), float((distance > FAR).mean())
        found.append(
            Field(field.name, field.unit, float(seen.min()), float(seen.max()), farthest, out_of_range)
        )
    return found


def _normalizer(
    path: Path, policy: Mapping[str, Any], spec: TaskSpec
) -> tuple[FloatArray, FloatArray] | None:
    """Return mean and standard deviation [n] of the observations in training; None where they were not kept."""
    kept = policy.get("normalizer") or {}
    if not kept.get("enabled"):
        return None
    try:
        mean, deviation = (np.asarray(kept[name], np.float64) for name in ("mean", "std"))
        if mean.ndim != 1 or mean.shape != deviation.shape or len(mean) < spec.observation_size:
            raise ValueError("it has another width than the observation")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged: its normalizer cannot be read ({error}); write it again with acer-export"
        ) from error
    return mean[: spec.observation_size], deviation[: spec.observation_size]


def _sentences(
    joints: Sequence[Joint], fields: Sequence[Field], feet: Sequence[Foot], dt: float
) -> list[Sentence]:
    """Return one line for each number of ROBOT, at its worst joint or field."""
    limit = max(joints, key=lambda joint: joint.at_limit)
    change = max(joints, key=lambda joint: joint.change)
    fast = max(joints, key=lambda joint: joint.fast_share)
    mean = sum(joint.change for joint in joints) / len(joints)
    worst = {
        "share at the limit": (
            limit.at_limit,
            f"{limit.name} is at a limit in {limit.at_limit:.0%} of its commands, the most of all joints.",
        ),
        "change per second": (
            change.change_per_second,
            f"A command changes by {mean:.0%} of its range every {1000 * dt:g} ms on average over joints; "
            f"{change.name} changes most, {change.change_per_second:.2g} ranges a second.",
        ),
    }
    if not math.isnan(fast.fast_share):
        worst["fast share"] = (
            fast.fast_share,
            f"{fast.name} has {fast.fast_share:.0%} of its power above {0.25 / dt:g} Hz, the most of all joints.",
        )
    measured = [field for field in fields if np.isfinite(field.out_of_range)]
    if measured:
        far = max(measured, key=lambda field: field.out_of_range)
        worst["out of range"] = (
            far.out_of_range,
            f"{far.name} is beyond {FAR:g} standard deviations of training in {far.out_of_range:.1%} of the "
            "recording, the most of all observations.",
        )
    if feet:
        least = min(feet, key=lambda foot: foot.share)
        worst["ground contact"] = (
            least.share,
            f"{least.name} touches the ground after {least.share:.0%} of the commands, the least of all feet.",
        )
    sentences = []
    for name, (value, text) in worst.items():
        low, high = healthy_range(name, {}, {})
        sick = not low <= value <= high
        sentences.append(Sentence(name, text, sick, ROBOT[name].formula, ROBOT[name].healthy))
    return sentences


def _joint_chart(recording: Recording, spec: TaskSpec, joint: int) -> Markup:
    first = recording.episodes()[0]
    shown = recording.commands[first, joint][
        : min(SHOWN_COMMANDS, round(SHOWN_SECONDS / spec.control_dt) + 1)
    ]
    name = spec.bounds.names[joint]
    svg = joint_chart(
        name,
        np.arange(len(shown)) * spec.control_dt,
        shown,
        recording.commands[:, joint],
        (spec.bounds.low[joint], spec.bounds.high[joint]),
    )
    return chart(svg, f"joint{joint}", f"Command of {name} over time, with its bounds, and its histogram")
