"""report.html: everything worth knowing about a run in one file that needs no network."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.metrics import METRICS
from acer_robot.reporting.charts import diagnostic, learning_curve
from acer_robot.run_folder.tables import Table, best_evaluation, read_table
from acer_robot.shell import typed
from acer_robot.spec import TaskSpec

STYLE = Path(__file__).with_name("report.css")
SETTINGS = ("config.yaml", "environment.txt")


def write_report(run_dir: Path, no_video: str = "none was rendered") -> Path:
    """Write run_dir/report.html from the files of the run. The report names each part that is missing.

    Args:
        run_dir: a run folder.
        no_video: why there is no video, if there is none.

    Raises:
        InputError: if `run_dir` is not a run folder, or one of its files is damaged.
    """
    if not (run_dir / "config.yaml").is_file():
        raise InputError(
            f"{run_dir} is not a run folder: it has no config.yaml; give the run_dir of acer-train"
        )
    metrics, evaluations = read_table(run_dir / "metrics.csv"), read_table(run_dir / "eval.csv")
    settings = [_read_text(run_dir / name) for name in SETTINGS]
    task, score = _read_task(run_dir / "export/policy.json"), _read_score(run_dir / "export/evaluation.json")
    title = f"{task.get('id', run_dir.name)}, {_integer(_last(metrics, evaluations))} environment steps"
    sections = [
        f"<header><h1>{_text(title)}</h1><p>{_text(run_dir.name)}</p></header>",
        _tiles(metrics, evaluations, score),
        _section("Learning curve", _curve(metrics, evaluations)),
        _section("Video of the exported policy", _video(run_dir, no_video)),
        _section("Exported file", _score(score)),
        _section("Evaluations during training", _evaluations(evaluations, run_dir)),
        _section("Policy contract", _contract(task)),
        _section("Diagnostics", _diagnostics(metrics)),
        _section("Settings and versions", _details(settings)),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body>\n</html>\n"
    )
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _read_text(path: Path) -> str:
    """Return a text file's content, or nothing where there is no file."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise _damaged(path, error) from error


def _read_task(path: Path) -> dict[str, Any]:
    """Return what policy.json says of the task, or nothing where there is no file."""
    text = _read_text(path)
    if not path.is_file():
        return {}
    try:
        return TaskSpec.from_dict(json.loads(text)["task"]).to_dict()
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _read_score(path: Path) -> dict[str, Any]:
    """Return evaluation.json, or nothing where there is no file."""
    text = _read_text(path)
    if not path.is_file():
        return {}
    try:
        score = json.loads(text)
        numbers = [score[name] for name in ("return_mean", "return_std", "episodes", "seed")]
        if not all(isinstance(number, int | float) for number in (*numbers, *score["returns"])):
            raise ValueError("a return, episodes or seed is not a number")
    except DAMAGE as error:
        raise _damaged(path, error) from error
    return dict(score)


def _damaged(path: Path, error: Exception) -> InputError:
    remedy = "restore it from a copy, write it again, or remove it to have a report without it"
    reason = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
    return InputError(f"{path} is damaged: {reason}; {remedy}")


def _tiles(metrics: Table, evaluations: Table, score: dict[str, Any]) -> str:
    """Show the few numbers that a reader looks for first."""
    tiles = []
    if score:
        spread = f" ± {_rounded(score['return_std'])}"
        tiles.append(
            (
                f"{_rounded(score['return_mean'])}{spread}",
                f"return of the exported file, {score['episodes']} episodes",
            )
        )
    elif evaluations.get("eval/return_mean"):
        tiles.append(
            (_rounded(evaluations["eval/return_mean"][-1]), "return of the exported policy, last evaluation")
        )
    tiles.append((_integer(_last(metrics, evaluations)), "environment steps"))
    if evaluations.get("seconds"):
        tiles.append((_duration(evaluations["seconds"][-1]), "of training"))
    if metrics.get("time/sps"):
        tiles.append((_integer(metrics["time/sps"][-1]), "environment steps per second"))
    cells = (
        f"<div><strong>{_text(number)}</strong><span>{_text(name)}</span></div>" for number, name in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _curve(metrics: Table, evaluations: Table) -> str:
    if not (metrics or evaluations):
        return _missing("The run ended before its first row of metrics.csv.")
    caption = (
        "The exported policy and the current policy act without noise. Each point is the mean over the episodes "
        "of one evaluation, in separate environments. The band is one standard deviation over these episodes. "
        "Training episodes have exploration noise. Their curve is the mean of the last 20 episodes. "
        "Environment steps include action repeats."
    )
    return _figure(learning_curve(evaluations, metrics), "Return over environment steps", caption)


def _video(run_dir: Path, no_video: str) -> str:
    videos = sorted((run_dir / "videos").glob("*.mp4"))
    if not videos:
        remedy = (
            f"acer-render {typed('policy', run_dir / 'export/policy.pt')} "
            f"{typed('out', run_dir / 'videos/episode.mp4')}"
        )
        return _missing(
            f"No video: {no_video}. To make one: {remedy}, then acer-report {typed('run', run_dir)}"
        )
    data = base64.b64encode(videos[-1].read_bytes()).decode("ascii")
    return f'<video controls loop muted playsinline src="data:video/mp4;base64,{data}"></video>'


def _score(score: dict[str, Any]) -> str:
    if not score:
        return _missing("The run has not exported a policy. To do so: acer-export run=DIR")
    rows = [(str(i), f"{value:,.1f}") for i, value in enumerate(score["returns"])]
    summary = (
        f"Mean {score['return_mean']:,.1f}, standard deviation {score['return_std']:,.1f} over "
        f"{score['episodes']} deterministic episodes of the file export/policy.pt (seed {score['seed']})."
    )
    return f"<p>{_text(summary)}</p>" + _table(("episode", "return"), rows)


def _evaluations(evaluations: Table, run_dir: Path) -> str:
    if not evaluations:
        return _missing("The run ended before its first evaluation.")
    names = ["time" if name == "seconds" else name for name in evaluations]
    rows = [
        [_number(name, values[i]) for name, values in evaluations.items()]
        for i in range(len(evaluations["step"]))
    ]
    table = _table([name.removeprefix("eval/").replace("_", " ") for name in names], rows)
    best = best_evaluation(evaluations)
    if best is None or not (run_dir / "checkpoints/best.pt").is_file():
        return table
    sentence = (
        f"The highest evaluation was {best[0]:,.1f} at step {best[1]:,}. Its policy is in checkpoints/best.pt. "
        "To export it: acer-export run=DIR checkpoint=best"
    )
    return f"<p>{_text(sentence)}</p>{table}"


def _contract(task: dict[str, Any]) -> str:
    """Show what a controller must know: rate, observation layout, and the commands' names and bounds."""
    if not task:
        return _missing("No policy has been exported yet.")
    bounds = task["bounds"]
    joints = zip(bounds["names"], bounds["low"], bounds["high"], strict=True)
    fields = ((f["name"], f"{f['start']}:{f['stop']}", f["unit"]) for f in task["observation"])
    rate = f"One command every {task['control_dt']:g} s ({1 / task['control_dt']:g} Hz)."
    units = "actuator" if task.get("command_is_actuator", True) else "the environment's"
    notes = "".join(f"<p>{_text(note)}</p>" for note in task.get("notes", ()))
    return (
        f"<p>{_text(rate)} The input is a float32 observation, the output are commands in {_text(units)} units.</p>"
        + notes
        + '<div class="side"><div><h3>Commands</h3>'
        + _table(("joint", "low", "high"), [(name, f"{low:g}", f"{high:g}") for name, low, high in joints])
        + "</div><div><h3>Observation</h3>"
        + _table(("field", "indices", "unit"), fields)
        + "</div></div>"
    )


def _diagnostics(metrics: Table) -> str:
    figures = [
        _figure(
            diagnostic(name, metrics["step"], values), name, METRICS[name].formula if name in METRICS else ""
        )
        for name, values in metrics.items()
        if name != "step" and any(math.isfinite(value) for value in values)
    ]
    return f'<div class="grid">{"".join(figures)}</div>' if figures else _missing("No metrics were logged.")


def _details(settings: Sequence[str]) -> str:
    parts = []
    for name, content in zip(SETTINGS, settings, strict=True):
        text = _text(content or f"{name} is missing")
        parts.append(f"<details><summary>{name}</summary><pre>{text}</pre></details>")
    return "".join(parts)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{content}</section>"


def _figure(svg: str, label: str, caption: str) -> str:
    """Embed a chart as a separate image, so that the ids inside two charts cannot clash."""
    data = base64.b64encode(svg.encode()).decode("ascii")
    image = f'<img alt="{_text(label)}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{image}<figcaption>{_text(caption)}</figcaption></figure>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _missing(reason: str) -> str:
    return f'<p class="missing">{_text(reason)}</p>'


def _text(text: str) -> str:
    return html.escape(text)


def _last(metrics: Table, evaluations: Table) -> float:
    """Return the last environment step that either table knows."""
    return max([0.0, *metrics.get("step", []), *evaluations.get("step", [])])


def _number(name: str, value: float) -> str:
    if name == "seconds":
        return _duration(value)
    return f"{value:,.0f}" if name == "step" or not math.isfinite(value) else f"{value:,.1f}"


def _rounded(value: float) -> str:
    """Show a return without digits that nobody reads."""
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:,.1f}"


def _integer(value: float) -> str:
    return f"{value:,.0f}"


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
