"""What the reports compute from rows: returns on a grid of steps, scores, t intervals, verdicts and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rows.results_table import Row, decode_curve
from scipy import stats  # type: ignore[import-untyped]

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
REPRODUCED, NOT_REPRODUCED, NOT_RESOLVED = "reproduced", "not reproduced", "not resolved at this budget"
COLORS = (
    "#1f5fa8", "#e07b1a", "#2e8b57", "#b03a5b", "#7d5fb2", "#8a6d3b", "#4a9aa5", "#777777", "#c2a800", "#d45fd0",
    "#1b2a41", "#8fce5a", "#f2a7a0", "#005f5f", "#e5332a", "#6b8e9f", "#4b0082", "#9acdff", "#5b3a1e", "#ff6fa8",
    "#ffb000", "#00a36c", "#7a0019",
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval, which is infinite where a sample has one value only."""

    mean: float
    low: float
    high: float


def returns_at(row: Row, steps: FloatArray) -> FloatArray:
    """Return the returns at `steps`: linear between evaluations, the first before the first, 0 after a stop.

    A run that failed has no policy at later steps; holding its last return would hide that.
    """
    points = decode_curve(row["curve"])
    if not points:
        return np.zeros_like(steps)
    known = np.array([point.step for point in points], dtype=np.float64)
    values: FloatArray = np.interp(steps, known, [point.value for point in points])
    if row["status"] != "ok":
        values[steps > known[-1]] = 0.0
    return values


def seconds_at(row: Row, steps: FloatArray) -> FloatArray:
    """Return the seconds of learning that the run had taken at `steps`; NaN after its end."""
    points = [(0, 0.0), *((point.step, point.seconds) for point in decode_curve(row["curve"]))]
    known, seconds = zip(*points, strict=True)
    taken: FloatArray = np.interp(steps, known, seconds, right=math.nan)
    return taken


def grid(steps: int, every: int) -> FloatArray:
    """Return `every`, 2 `every`, ..., `steps`."""
    return np.arange(every, steps + 1, every, dtype=np.float64)


def area(row: Row, steps: FloatArray) -> float:
    """Return the area under the learning curve, as the mean return over `steps`."""
    return float(returns_at(row, steps).mean())


def score(row: Row, steps: FloatArray) -> float:
    """Return the mean return over the last tenth of `steps`."""
    return float(returns_at(row, steps[steps >= 0.9 * steps[-1]]).mean())


def mean_difference(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> Estimate:
    """Estimate the mean over `pairs` of mean(first) - mean(second), each an array over seeds.

    The interval is Welch's t interval: the variances of all samples add up, with Satterthwaite's degrees of freedom.
    """
    if not pairs:
        return Estimate(math.nan, -math.inf, math.inf)
    mean = float(np.mean([first.mean() - second.mean() for first, second in pairs]))
    samples = [sample for pair in pairs for sample in pair]
    if min(len(sample) for sample in samples) < 2:
        return Estimate(mean, -math.inf, math.inf)
    return _interval(mean, samples, len(pairs))


def mean_of(sample: FloatArray) -> Estimate:
    """Estimate the mean of one sample over seeds, with Student's t interval."""
    mean = float(sample.mean()) if len(sample) else math.nan
    return _interval(mean, [sample], 1) if len(sample) > 1 else Estimate(mean, -math.inf, math.inf)


def _interval(mean: float, samples: Sequence[FloatArray], divisor: int) -> Estimate:
    parts = np.array([sample.var(ddof=1) / len(sample) for sample in samples]) / divisor**2
    if not parts.any():
        return Estimate(mean, mean, mean)
    freedoms = np.array([len(sample) - 1 for sample in samples])
    freedom = parts.sum() ** 2 / (parts**2 / freedoms).sum()
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom) * math.sqrt(parts.sum()))
    return Estimate(mean, mean - half, mean + half)


def verdict(differences: Sequence[Estimate]) -> str:
    """The one rule: reproduced where all intervals lie above 0, not reproduced where one lies below, else open."""
    if differences and all(difference.low > 0.0 for difference in differences):
        return REPRODUCED
    if any(difference.high < 0.0 for difference in differences):
        return NOT_REPRODUCED
    return NOT_RESOLVED


def cell(sample: FloatArray, digits: int = 0) -> str:
    """Return "mean ± half of the interval (seeds)" for a table; "" where there is no run."""
    if not len(sample):
        return ""
    estimate = mean_of(sample)
    spread = f" ± {estimate.high - estimate.mean:.{digits}f}" if len(sample) > 1 else ""
    return f"{estimate.mean:.{digits}f}{spread} ({len(sample)})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def colors_of(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each learner's curves; after the last of COLORS they come again."""
    return dict(zip(names, cycle(COLORS), strict=False))


def draw(axes: Axes, curves: Mapping[str, tuple[FloatArray, FloatArray]], colors: Mapping[str, str]) -> None:
    """Draw the mean of every learner's curves, (x [n], returns [seeds, n]), with a band of one standard error."""
    for name, (x, values) in curves.items():
        mean = values.mean(axis=0)
        axes.plot(x, mean, color=colors[name], lw=1.6, label=name)
        if len(values) > 1:
            error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
            axes.fill_between(x, mean - error, mean + error, color=colors[name], alpha=0.18, lw=0)
    axes.grid(color="#e3e7eb", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8, length=0)


def legend_above(figure: Figure) -> None:
    """Give the figure one legend for all of its panels, above them."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        lines, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, lines, strict=True))
    figure.legend(
        list(entries.values()), list(entries), loc="outside upper center", ncols=5, frameon=False, fontsize=9
    )


def provenance(rows: Sequence[Row]) -> str:
    """Return the versions, machines and revisions of `rows`, and the commands that make them.

    A command was short of an override where that was still the default; it is added, so that the command holds today.
    """
    lines = []
    for name, title in (("machine", "Machines"), ("versions", "Versions"), ("revision", "Revisions")):
        lines.append(f"- {title}: {'; '.join(sorted({row[name] for row in rows}))}.")
    loads = [float(load) for row in rows for load in row["load"].split()]
    lines.append(f"- Load averages while they ran: {min(loads):.1f} to {max(loads):.1f}.")
    lines.append("- One command of each learner (the CSV has every run's):\n\n```")
    commands: dict[str, str] = {}
    for row in rows:
        words = row["command"].split()
        words += [option for option in row["overrides"].split() if option not in words]
        commands.setdefault(row["learner"] + row["overrides"], " ".join(words))
    lines += commands.values()
    return "\n".join([*lines, "```"])


def failures(rows: Sequence[Row]) -> str:
    """Return a list of the runs that failed, each with what it said."""
    failed = [row for row in rows if row["status"] != "ok"]
    if not failed:
        return "Every run went to its end."
    lines = [
        f"- {row['learner']} on {row['task']}, seed {row['seed']}: {row['status']}; "
        f"last evaluated at step {max((p.step for p in decode_curve(row['curve'])), default=0):,}"
        for row in failed
    ]
    return "\n".join(["Runs that failed (their returns count as 0 from there on):", "", *lines])
