"""The learning curves of benchmarks/learning.py's report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from reports.learning_rows import EVERY, Found
from reports.public_scores import PUBLIC
from rows.curves import FloatArray, colors_of, draw, grid, legend_above, returns_at, seconds_at
from rows.results_table import Row, decode_curve

from acer_robot.reporting.charts import steps_label


def curve(rows: Sequence[Row], by_seconds: bool) -> tuple[FloatArray, FloatArray]:
    """Return x and the returns [seeds, n] up to the shortest run; x are steps, or mean seconds at those steps."""
    steps = grid(min(int(row["steps"]) for row in rows), EVERY)
    values = np.array([returns_at(row, steps) for row in rows])
    if not by_seconds:
        return steps, values
    ended = [row for row in rows if row["status"] == "ok"] or rows
    seconds = np.array([seconds_at(row, steps) for row in ended]).mean(axis=0)
    kept = np.isfinite(seconds)
    return seconds[kept], values[:, kept]


def picture(found: Found, names: Sequence[str], by_seconds: bool) -> Figure:
    """Draw the learning curves, one panel a task."""
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 3.0 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = colors_of(names)
    for axes, (task, learners) in zip(panels, found.items(), strict=False):
        draw(axes, {name: curve(learners[name], by_seconds) for name in names if name in learners}, colors)
        for name in (name for name in names if name in learners):
            for row in learners[name]:
                points = decode_curve(row["curve"])
                x = [point.seconds if by_seconds else point.step for point in points]
                axes.plot(x, [point.value for point in points], color=colors[name], lw=0.6, alpha=0.5)
        end = axes.dataLim.x1
        public = {x: y for x, y in PUBLIC.get(task, {}).items() if x <= end and not by_seconds}
        if public:
            axes.plot(list(public), list(public.values()), "kx", ms=6, label="public SAC")
        axes.set_title(task, fontsize=10, loc="left")
        axes.set_xlim(left=0)
        if not by_seconds:
            axes.xaxis.set_major_formatter(lambda value, _: steps_label(value))
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    legend_above(figure)
    figure.supxlabel(
        "seconds of learning" if by_seconds else "environment steps (action repeat counted)", fontsize=9
    )
    figure.supylabel("return", fontsize=9)
    return figure
