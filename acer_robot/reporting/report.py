"""report.html: everything worth knowing about a run in one file that needs no network."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio.v3
import imageio_ffmpeg
import numpy as np

from acer_robot.deployment.robustness import table_rows
from acer_robot.errors import InputError
from acer_robot.metrics import metric
from acer_robot.reporting.charts import diagnostic, learning_curve
from acer_robot.reporting.contents import (
    failure,
    last_step,
    read_config,
    read_evaluations,
    read_policy,
    read_score,
    read_text,
)
from acer_robot.reporting.health import Reading, readings
from acer_robot.reporting.home_picture import FILE as HOME_PICTURE
from acer_robot.reporting.page import chart, check_page, duration, rounded, wide_and_narrow, write_page
from acer_robot.reporting.robot import read_robot
from acer_robot.run_folder.layout import check_folder, create_folder
from acer_robot.run_folder.tables import Table, best_evaluation, read_table
from acer_robot.shell import typed

SETTINGS = ("config.yaml", "environment.txt")
LARGEST_VIDEO = 6_000_000
"""Bytes of a video that is put inside; a larger one stays beside the report, which links to it."""
POSTER_FRAME = 25
"""Frame of the video that is shown before it plays."""


def write_report(run_dir: Path, no_video: str = "none was rendered", out: Path | None = None) -> Path:
    """Write report.html from what the run left; a part that is missing is named in its place.

    Args:
        run_dir: a run folder.
        no_video: why there is no video, if there is none.
        out: the file; None: report.html in the run folder.

    Raises:
        InputError: if `run_dir` is not a run folder, one of its files is damaged, or `out` cannot be written.
    """
    config = read_config(run_dir)
    metrics, evaluations = read_table(run_dir / "metrics.csv"), read_evaluations(run_dir)
    settings = [(name, read_text(run_dir / name)) for name in SETTINGS]
    policy, score = read_policy(run_dir), read_score(run_dir)
    task, robot = policy.get("task", {}), read_robot(run_dir, policy)
    found = readings(metrics, evaluations, config.get("learner", {}))
    path = out or run_dir / "report.html"
    if path.is_dir():
        raise InputError(f"out={str(path)!r} is a folder; give the name of a file, as in out=report.html")
    check_page(path)
    if out is not None:
        check_folder("out", out.parent)
        create_folder("out", out.parent)
    run = typed("run", run_dir)
    return write_page(
        "report.html.j2",
        path,
        title=f"{task.get('id', run_dir.name)}, {last_step(metrics, evaluations):,.0f} environment steps",
        name=run_dir.name,
        error=failure(run_dir),
        sick=[reading for reading in found.values() if reading.sick],
        tiles=_tiles(metrics, evaluations, score),
        curve=_curve(metrics, evaluations),
        home=_home(run_dir),
        video=_video(run_dir, path.parent),
        no_video=no_video,
        render=f"acer-render {typed('policy', run_dir / 'export/policy.pt')} "
        f"{typed('out', run_dir / 'videos/episode.mp4')}",
        export=f"acer-export {run}",
        report=f"acer-report {run}",
        score=score,
        robustness=table_rows(score["robustness"]) if score.get("robustness") else [],
        robot=robot,
        evaluations=_evaluations(evaluations),
        best=_best(evaluations, run_dir),
        task=task,
        diagnostics=_diagnostics(metrics, found),
        settings=settings,
    )


def _tiles(metrics: Table, evaluations: Table, score: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the few numbers that a reader looks for first, and what they are."""
    tiles = []
    if score:
        number = f"{rounded(score['return_mean'])} ± {rounded(score['return_std'])}"
        tiles.append((number, f"return of the exported file, {score['episodes']} episodes"))
    elif evaluations.get("eval/return_mean"):
        number = rounded(evaluations["eval/return_mean"][-1])
        tiles.append((number, "return of the exported policy, last evaluation"))
    tiles.append((f"{last_step(metrics, evaluations):,.0f}", "environment steps"))
    if evaluations.get("seconds"):
        tiles.append((duration(evaluations["seconds"][-1]), "of training"))
    if metrics.get("time/sps"):
        tiles.append((f"{metrics['time/sps'][-1]:,.0f}", "environment steps a second"))
    return tiles


def _curve(metrics: Table, evaluations: Table) -> str:
    if not (metrics or evaluations):
        return ""
    label = "Return over environment steps"
    if returns := evaluations.get("eval/return_mean"):
        label += f": the exported policy goes from {rounded(returns[0])} to {rounded(returns[-1])}"
    return wide_and_narrow(lambda size: learning_curve(evaluations, metrics, size), "curve", label)


def _home(run_dir: Path) -> str:
    """Return the picture of the robot's home pose as a data address, or nothing where there is none."""
    path = run_dir / HOME_PICTURE
    return (
        f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
        if path.is_file()
        else ""
    )


def _video(run_dir: Path, beside: Path) -> dict[str, str] | None:
    """Return source and poster of the last video, or None where there is none."""
    videos = sorted((run_dir / "videos").glob("*.mp4"))
    if not videos:
        return None
    video = videos[-1]
    if video.stat().st_size > LARGEST_VIDEO:
        inside = video.resolve().is_relative_to(beside.resolve())
        source = video.resolve().relative_to(beside.resolve()) if inside else video.resolve()
        return {"source": source.as_posix(), "poster": poster(video), "name": str(video), "beside": "yes"}
    data = base64.b64encode(video.read_bytes()).decode("ascii")
    return {
        "source": f"data:video/mp4;base64,{data}",
        "poster": poster(video),
        "name": str(video),
        "beside": "",
    }


def poster(video: Path) -> str:
    """Return a picture of the video as a data address, or nothing where ffmpeg finds no picture in it."""
    frame, size = b"", (0, 0)
    try:
        frames = imageio_ffmpeg.read_frames(str(video))
        size = next(frames)["size"]
        for frame in itertools.islice(frames, POSTER_FRAME):  # noqa: B007 - the last one counts
            pass
        frames.close()
    except (OSError, RuntimeError, StopIteration, KeyError):
        return ""
    width, height = size
    if len(frame) != 3 * width * height or not frame:
        return ""
    picture = np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    data = imageio.v3.imwrite("<bytes>", picture, extension=".jpg")
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"


def _evaluations(evaluations: Table) -> dict[str, Any]:
    names = ["time" if name == "seconds" else name for name in evaluations]
    return {
        "header": [name.removeprefix("eval/").replace("_", " ") for name in names],
        "rows": [
            [_number(name, values[i]) for name, values in evaluations.items()]
            for i in range(len(evaluations.get("step", [])))
        ],
    }


def _best(evaluations: Table, run_dir: Path) -> dict[str, str] | None:
    """Return where the highest evaluation was, if its checkpoint is kept."""
    best = best_evaluation(evaluations)
    if best is None or not (run_dir / "checkpoints/best.pt").is_file():
        return None
    return {"value": f"{best[0]:,.1f}", "step": f"{best[1]:,}"}


def _diagnostics(metrics: Table, found: Mapping[str, Reading]) -> list[dict[str, Any]]:
    figures = []
    for number, (name, values) in enumerate(metrics.items()):
        if name == "step" or not any(map(math.isfinite, values)):
            continue
        reading, known = found.get(name), metric(name)
        healthy = (reading.low, reading.high) if reading else (-math.inf, math.inf)
        svg = diagnostic(name, metrics["step"], values, healthy)
        figures.append(
            {
                "name": name,
                "chart": chart(svg, f"diagnostic{number}", name),
                "formula": known.formula if known else "",
                "healthy": known.healthy if known else "",
                "sick": reading is not None and reading.sick,
            }
        )
    return figures


def _number(name: str, value: float) -> str:
    if name == "seconds":
        return duration(value)
    return f"{value:,.0f}" if name == "step" or not math.isfinite(value) else f"{value:,.1f}"
