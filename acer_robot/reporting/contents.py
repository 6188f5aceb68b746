"""What the reports read of a run folder; a file that is damaged is refused by its name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.run_folder.status import read_status
from acer_robot.run_folder.tables import Table, read_table
from acer_robot.spec import TaskSpec

EVALUATION_COLUMNS = ("eval/return_mean", "eval/return_std", "seconds")


def check_run_folder(run_dir: Path) -> None:
    """Raise InputError unless `run_dir` is a run folder."""
    if not (run_dir / "config.yaml").is_file():
        raise InputError(
            f"{run_dir} is not a run folder: it has no config.yaml; give the run_dir of acer-train"
        )


def failure(run_dir: Path) -> str:
    """Return the last line of the error that ended a run, or nothing where none did or the run went on after it.

    Raises:
        InputError: if error.txt cannot be read.
    """
    state = read_status(run_dir)
    if state not in ("failed", "unknown"):  # unknown: of a former version, which left an error.txt alone
        return ""
    said = read_text(run_dir / "error.txt").strip().rpartition("\n")[2]
    return said or ("its output says which" if state == "failed" else "")


def read_text(path: Path) -> str:
    """Return a text file's content, or nothing where there is no file.

    Raises:
        InputError: if it is no text, or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (UnicodeDecodeError, OSError) as error:
        raise _damaged(path, error) from error


def read_config(run_dir: Path) -> dict[str, Any]:
    """Return the options of a run.

    Raises:
        InputError: if `run_dir` is not a run folder, or its config.yaml is damaged.
    """
    check_run_folder(run_dir)
    path = run_dir / "config.yaml"
    text = read_text(path)
    try:
        config = yaml.safe_load(text)
        if not isinstance(config, dict) or not all(isinstance(name, str) for name in config):
            raise ValueError("it holds no options")
        for part in ("task", "learner"):
            if not isinstance(config.get(part, {}), dict):
                raise ValueError(f"{part} holds no options")
    except (yaml.YAMLError, *DAMAGE) as error:
        raise _damaged(path, error) from error
    return config


def read_evaluations(run_dir: Path) -> Table:
    """Return eval.csv.

    Raises:
        InputError: if it is damaged.
    """
    path = run_dir / "eval.csv"
    table = read_table(path)
    if table and (missing := [name for name in EVALUATION_COLUMNS[:1] if name not in table]):
        raise _damaged(path, ValueError(f"it has no column {missing[0]}"))
    return table


def read_policy(run_dir: Path) -> dict[str, Any]:
    """Return export/policy.json with a `task` that was checked, or nothing where there is no file.

    Raises:
        InputError: if it is damaged.
    """
    path = run_dir / "export/policy.json"
    text = read_text(path)
    if not path.is_file():
        return {}
    try:
        policy = json.loads(text)
        return {**policy, "task": TaskSpec.from_dict(policy["task"]).to_dict()}
    except DAMAGE as error:
        raise _damaged(path, error) from error


def read_score(run_dir: Path) -> dict[str, Any]:
    """Return export/evaluation.json, or nothing where there is no file.

    Raises:
        InputError: if it is damaged.
    """
    path = run_dir / "export/evaluation.json"
    text = read_text(path)
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


def last_step(*tables: Table) -> float:
    """Return the last environment step that a table knows; 0 where none does."""
    return max([0.0, *(step for table in tables for step in table.get("step", []))])


def known(values: list[float]) -> list[float]:
    """Return the finite ones of `values`."""
    return [value for value in values if math.isfinite(value)]


def _damaged(path: Path, error: Exception) -> InputError:
    remedy = "restore it from a copy, write it again, or remove it to have a report without it"
    reason = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
    return InputError(f"{path} is damaged: {reason}; {remedy}")
