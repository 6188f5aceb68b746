"""What is known of every run below a folder, from the files of its run folder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.run_folder.checkpoints import config_from_dict
from acer_robot.run_folder.status import read_status
from acer_robot.run_folder.tables import best_evaluation, read_table

NAMES = {int: "a whole number", str: "a text"}


@dataclass(frozen=True)
class Listed:
    """One run; a text is empty where a number is not known."""

    run: str
    state: str
    """running, finished, failed, or interrupted; "resumable" after it where the run can go on; or what is damaged."""
    task: str
    learner: str
    steps: str
    """Environment steps so far, of how many."""
    last: str
    """Return of the last evaluation."""
    best: str
    """Highest return of an evaluation."""
    time: str
    """Hours and minutes of learning."""
    size: str
    """MiB on disk."""


def list_runs(folder: Path) -> list[Listed]:
    """Return the runs below a folder, the one with the latest checkpoint or options last.

    Raises:
        InputError: if there is no such folder, or no run is in it.
    """
    if not folder.is_dir():
        raise InputError(f"folder={folder} does not exist; give the folder that holds run folders")
    found = [
        path.parent
        for path in folder.rglob("config.yaml")
        if not (path.parent.is_symlink() or _is_wandbs(path))
    ]
    if not found:
        raise InputError(
            f"folder={folder} holds no run: no config.yaml is in it or below; give another folder"
        )
    return [_listed(path, folder) for path in sorted(found, key=_changed)]


def _is_wandbs(path: Path) -> bool:
    """Whether a config.yaml is the one that wandb keeps: RUN/wandb/run-TIME-ID/files/config.yaml."""
    return path.parent.name == "files" and path.parent.parent.parent.name == "wandb"


def _changed(run_dir: Path) -> int:
    latest = run_dir / "checkpoints" / "latest.pt"
    return (latest if latest.is_file() else run_dir / "config.yaml").stat().st_mtime_ns


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 of none, and of one that a run removes meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size if path.is_file() else 0
    return 0


def _listed(run_dir: Path, folder: Path) -> Listed:
    name = str(run_dir.relative_to(folder)) if run_dir != folder else run_dir.name
    size = f"{sum(map(_size, run_dir.rglob('*'))) / 2**20:,.0f} MiB"
    try:
        config = config_from_dict(yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8")))
        metrics, evaluations = (read_table(run_dir / f"{table}.csv") for table in ("metrics", "eval"))
        steps = max([0.0, *metrics.get("step", []), *evaluations.get("step", [])])
        returns, best = evaluations.get("eval/return_mean", []), best_evaluation(evaluations)
        seconds = max([0.0, *evaluations.get("seconds", []), *metrics.get("time/seconds", [])])
        kinds = (config.steps, int), (config.task.id, str), (config.learner.estimator, str)
        for value, kind in kinds:
            if not isinstance(value, kind):
                raise InputError(f"config.yaml has {value!r} in the place of {NAMES[kind]}")
    except (*DAMAGE, yaml.YAMLError) as error:
        return Listed(name, f"damaged: {first_line(error)}", "", "", "", "", "", "", size)
    state: str = read_status(run_dir)
    if state not in ("running", "finished") and (run_dir / "checkpoints" / "latest.pt").is_file():
        state += ", resumable"
    return Listed(
        name,
        state,
        config.task.id,
        config.learner.estimator,
        f"{steps:,.0f} of {config.steps:,}",
        f"{returns[-1]:,.1f}" if returns else "",
        f"{best[0]:,.1f}" if best else "",
        f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h",
        size,
    )
