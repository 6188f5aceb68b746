"""The reports' charts as SVG: learning curves, diagnostics, commands of the robot, and comparisons of runs."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

AVERAGE, ONLINE, ROLLOUT, GRID, TEXT, PAPER = (
    "#1f5fa8", "#c4650c", "#8a939c", "#e3e7eb", "#3c4650", "#ffffff",
)  # fmt: skip
COLORS = (AVERAGE, ONLINE, "#2e8b57", "#b03a5b", "#7d5fb2", "#8a6d3b", "#2f8390", "#66707a")
DASHES = ("-", "--", ":")
VARIABLES = {
    **{color: f"--curve{number}" for number, color in enumerate(COLORS)},
    ROLLOUT: "--quiet",
    GRID: "--line",
    TEXT: "--soft",
    PAPER: "--paper",
}
"""Colour of a chart -> the variable of report.css that takes its place inside a page, so that it follows dark mode."""
WIDE, NARROW = (9.0, 4.2), (4.6, 3.6)
"""Sizes in inches of a chart on a desktop and on a phone; at 72 dots an inch a label of 10 points has 10 pixels."""

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
"""Units of an axis of time, in seconds."""
TIME_STEPS = (
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 604_800,
)  # fmt: skip
"""Seconds that may lie between two ticks of an axis of time."""
TICKS = 6
"""Most ticks of an axis of time, beside that at zero."""

Table = Mapping[str, Sequence[float]]
"""Column name -> values; "step" counts environment steps."""
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Curve:
    """One setting in a comparison: what its runs returned, and their middle."""

    color: str
    dashes: str
    x: FloatArray
    middle: FloatArray
    low: FloatArray
    high: FloatArray
    runs: Sequence[tuple[FloatArray, FloatArray, bool]]
    """x and returns of each run, drawn thin behind, and whether it counts; if not, it is dotted."""


def learning_curve(evaluations: Table, metrics: Table, size: tuple[float, float] = WIDE) -> str:
    """Draw return over environment steps: exported policy and spread, current policy, training episodes."""
    figure, axes = _figure(*size)
    mean, spread = evaluations.get("eval/return_mean", ()), evaluations.get("eval/return_std", ())
    steps = evaluations.get("step", ())
    curves = (
        (metrics, "rollout/ep_return", "training episodes", ROLLOUT, 1.2),
        (evaluations, "eval/return_online", "current policy", ONLINE, 1.4),
        (evaluations, "eval/return_mean", "exported policy", AVERAGE, 2.2),
    )
    for table, name, label, color, width in curves:
        values = table.get(name, ())
        if any(math.isfinite(value) for value in values):
            marker = "" if table is metrics else "o"
            axes.plot(
                table["step"], values, label=label, gid=name, color=color, lw=width, marker=marker, ms=4
            )
    if mean and spread:
        low = [m - s for m, s in zip(mean, spread, strict=True)]
        high = [m + s for m, s in zip(mean, spread, strict=True)]
        axes.fill_between(steps, low, high, color=AVERAGE, alpha=0.15, lw=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return of an episode")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best", labelcolor=TEXT)
    return _svg(figure)


def diagnostic(
    name: str,
    steps: Sequence[float],
    values: Sequence[float],
    healthy: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    """Draw one metric over environment steps, and the limits of its healthy range where they are in view."""
    figure, axes = _figure(4.2, 2.3)
    axes.plot(steps, values, color=AVERAGE, lw=1.3)
    low, high = axes.get_ylim()
    for limit in healthy:
        if low < limit < high:
            axes.axhline(limit, color=ONLINE, lw=1.0, ls="--")
    axes.set_ylim(low, high)
    axes.set_title(name, fontsize=10, color=TEXT, loc="left")
    return _svg(figure)


def comparison(curves: Sequence[Curve], xlabel: str, in_steps: bool, size: tuple[float, float] = WIDE) -> str:
    """Draw the middle and the interval of each setting's runs, and each run thin behind."""
    figure, axes = _figure(*size)
    for curve in curves:
        for x, values, counts in curve.runs:
            style = "-" if counts else ":"
            axes.plot(x, values, color=curve.color, ls=style, lw=0.7 if counts else 1.2, alpha=0.45)
        axes.fill_between(curve.x, curve.low, curve.high, color=curve.color, alpha=0.15, lw=0)
        mark = "o" if len(curve.x) < 20 else ""
        axes.plot(
            curve.x, curve.middle, color=curve.color, ls=curve.dashes, lw=2.2, marker=mark, ms=4
        )  # fmt: skip
    if not in_steps:
        drawn = [x for curve in curves for x in (curve.x, *(run[0] for run in curve.runs)) if len(x)]
        longest = max((float(x[-1]) for x in drawn), default=1.0)
        unit, step = time_step(longest)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / UNITS[unit]:g} {unit}")
    axes.set_xlim(left=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("return of the exported policy")
    return _svg(figure)


def joint_chart(
    name: str,
    seconds: FloatArray,
    commands: FloatArray,
    all_commands: FloatArray,
    limits: tuple[float, float],
) -> str:
    """Draw a joint's command over time between its bounds, and beside it how often it had which value."""
    figure = Figure(figsize=(4.2, 2.2), layout="constrained")
    trace, histogram = figure.subplots(1, 2, sharey=True, width_ratios=(3.2, 1.0))
    for axes in (trace, histogram):
        _look(axes)
    trace.step(seconds, commands, where="post", color=AVERAGE, lw=1.2)
    for limit in limits:
        trace.axhline(limit, color=ONLINE, lw=1.0, ls="--")
    if limits[0] < limits[1]:
        counts, edges = np.histogram(all_commands, bins=20, range=limits)
        share = counts / max(1, len(all_commands))
        histogram.barh(edges[:-1], share, height=np.diff(edges), align="edge", color=AVERAGE)
    trace.set_title(name, fontsize=10, color=TEXT, loc="left")
    trace.set_xlabel("seconds")
    histogram.locator_params(axis="x", nbins=2)
    histogram.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}" if x else "")
    return _svg(figure)


def spectrum_chart(frequencies: FloatArray, power: FloatArray) -> str:
    """Draw the power [F, d] of the commands over frequency: each joint thin, the mean over joints thick."""
    figure, axes = _figure(4.6, 2.6)
    axes.semilogy(frequencies, power, color=ROLLOUT, lw=0.8)
    axes.semilogy(frequencies, power.mean(axis=1), color=AVERAGE, lw=2.0)
    axes.minorticks_off()
    axes.axvline(0.5 * frequencies[-1], color=ONLINE, lw=1.0, ls="--")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.set_xlabel("frequency in Hz")
    axes.set_ylabel("power, range² per Hz")
    return _svg(figure)


def motion_chart(
    name: str,
    unit: str,
    seconds: FloatArray,
    traces: tuple[FloatArray, FloatArray],
    phase: tuple[FloatArray, FloatArray],
) -> str:
    """Draw position and velocity of a joint over time, and beside them its phase plot: velocity over position."""
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(3, 2))
    position, velocity, plane = (figure.add_subplot(cell) for cell in (grid[0, 0], grid[1, 0], grid[:, 1]))
    for axes in (position, velocity, plane):
        _look(axes)
    position.plot(seconds, traces[0], color=AVERAGE, lw=1.0)
    velocity.plot(seconds, traces[1], color=ONLINE, lw=1.0)
    plane.plot(*phase, color=AVERAGE, lw=0.6, alpha=0.7)
    position.set_title(name, fontsize=10, color=TEXT, loc="left")
    position.set_ylabel(unit)
    velocity.set_ylabel(f"{unit}/s")
    velocity.set_xlabel("seconds")
    plane.set_xlabel(unit)
    plane.set_ylabel(f"{unit}/s")
    plane.locator_params(axis="x", nbins=2)
    return _svg(figure)


def gait_chart(
    names: Sequence[str], seconds: FloatArray, contacts: FloatArray, size: tuple[float, float] = WIDE
) -> str:
    """Draw when each foot touches the ground: a bar in the foot's row; `contacts` [N, F] are 0 or 1."""
    figure, axes = _figure(size[0], 0.8 + 0.3 * len(names))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    width = float(seconds[1] - seconds[0]) if len(seconds) > 1 else 1.0
    for row in range(len(names)):
        axes.broken_barh(
            [(float(t), width) for t in seconds[contacts[:, row] > 0.5]], (row - 0.35, 0.7), color=AVERAGE
        )
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.set_xlim(0.0, float(seconds[-1]) + width)
    axes.set_xlabel("seconds")
    return _svg(figure)


def terms_chart(
    names: Sequence[str], seconds: FloatArray, values: FloatArray, size: tuple[float, float] = WIDE
) -> str:
    """Draw the terms [N, K] of the reward of each command over time."""
    figure, axes = _figure(size[0], 3.0)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    for i, name in enumerate(names):
        color, dashes = COLORS[i % len(COLORS)], DASHES[i // len(COLORS) % len(DASHES)]
        axes.plot(seconds, values[:, i], color=color, ls=dashes, lw=1.2, label=name)
    axes.set_xlabel("seconds")
    axes.set_ylabel("reward of a command")
    axes.legend(frameon=False, loc="best", labelcolor=TEXT)
    return _svg(figure)


def time_step(longest: float) -> tuple[str, float]:
    """Return the unit of an axis of time, and the seconds between its ticks: whole numbers of that unit.

    >>> time_step(290), time_step(1060), time_step(9000)
    (('min', 60.0), ('min', 300.0), ('min', 1800.0))
    """
    for step in TIME_STEPS:
        if longest <= TICKS * step:
            break
    unit = max((name for name in UNITS if UNITS[name] <= step), key=UNITS.__getitem__)
    return unit, float(step)


def steps_label(steps: float) -> str:
    """Shorten a number of steps: 25000 is 25k, 1500000 is 1.5M."""
    if not math.isfinite(steps) or abs(steps) < 1e3:
        return f"{steps:g}"
    return f"{steps / 1e6:g}M" if abs(steps) >= 1e6 else f"{steps / 1e3:g}k"


def inline(svg: str, prefix: str, label: str) -> str:
    """Return a chart as an element of a page: its colours follow the page's, its ids begin with `prefix`.

    Args:
        svg: what a function above returned.
        prefix: letters and digits that no other chart of the page has.
        label: what a screen reader says in its place.
    """
    body = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.S
    )
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href", "href")
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for color, variable in VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    body = re.sub(r'(<svg[^>]*?)\swidth="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", body))
    return body.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1).strip()


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of that size in inches, with the report's look."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _look(axes)
    axes.xaxis.set_major_formatter(lambda x, _: steps_label(x))
    return figure, axes


def _look(axes: Axes) -> None:
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, labelsize=10, length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    axes.locator_params(axis="x", nbins=6)


def _svg(figure: Figure) -> str:
    """Return the figure as SVG text; the same figure gives the same text."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": "acer_robot", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata=nothing)
    return text.getvalue()
