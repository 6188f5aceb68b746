"""The report's charts: learning curve and diagnostics as self-contained SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

AVERAGE, ONLINE, ROLLOUT, GRID, TEXT = "#1f5fa8", "#e07b1a", "#8a939c", "#e3e7eb", "#3c4650"

Table = Mapping[str, Sequence[float]]
"""Column name -> values; "step" counts environment steps."""


def learning_curve(evaluations: Table, metrics: Table) -> str:
    """Draw return over environment steps: exported policy with its spread, current policy, training episodes."""
    figure, axes = _figure(9.0, 4.2)
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
    if spread:
        low = [m - s for m, s in zip(mean, spread, strict=True)]
        high = [m + s for m, s in zip(mean, spread, strict=True)]
        axes.fill_between(steps, low, high, color=AVERAGE, alpha=0.15, lw=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return of an episode")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best", labelcolor=TEXT)
    return _svg(figure)


def diagnostic(name: str, steps: Sequence[float], values: Sequence[float]) -> str:
    """Draw one metric over environment steps."""
    figure, axes = _figure(4.2, 2.3)
    axes.plot(steps, values, color=AVERAGE, lw=1.3)
    axes.set_title(name, fontsize=10, color=TEXT, loc="left")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure in the report's style; width and height are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, labelsize=9, length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_formatter(lambda x, _: steps_label(x))
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    return figure, axes


def steps_label(steps: float) -> str:
    """Shorten a number of steps: 25000 is 25k, 1500000 is 1.5M."""
    if not math.isfinite(steps) or abs(steps) < 1e3:
        return f"{steps:g}"
    return f"{steps / 1e6:g}M" if abs(steps) >= 1e6 else f"{steps / 1e3:g}k"


def _svg(figure: Figure) -> str:
    """Return the figure as SVG text; the same figure gives the same text."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "acer_robot", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
