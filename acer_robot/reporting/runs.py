"""The runs of a comparison: what is read of each folder, and which of them share task and settings."""

from __future__ import annotations

import dataclasses
import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acer_robot.errors import InputError
from acer_robot.reporting.contents import (
    failure,
    last_step,
    read_config,
    read_evaluations,
    read_score,
    read_text,
)
from acer_robot.run_folder.checkpoints import RETIRED
from acer_robot.run_folder.tables import Table, best_evaluation, read_table
from acer_robot.schema import TrainConfig

NO_SETTINGS = (
    "seed", "run_dir", "wandb", "threads", "log_every", "hand_over", "video", "device", "tensorboard", "compile",
    "sweep_dir", "eval_online", "checkpoint", "on_divergence", "max_rollbacks", "on_environment_error", "max_rebuilds",
    "step_timeout", "task.workers", "collector.address", "collector.dashboard", "collector.timeout",
    "collector.retries",
)  # fmt: skip
"""Options in which the runs of one setting may differ: none of them decides what is learnt."""
FINISHED, RUNNING, FAILED = "finished", "running or interrupted", "ended with an error"
LONGEST_NAME = 70
NOT_THERE = "-"
"""Value of an option that the version of a run does not have."""


@dataclass(frozen=True)
class Run:
    """What a comparison knows of one run folder."""

    folder: Path
    task: str
    settings: Mapping[str, Any]
    """Options that decide what is learnt, by dotted name."""
    seed: int
    steps: int
    """Environment steps that were asked for."""
    reached: float
    evaluations: Table
    """Rows of eval.csv whose return is a number."""
    status: str
    exported: float
    """Return of the exported file; NaN where there is none."""
    versions: Mapping[str, str]

    @property
    def last(self) -> float:
        """The last evaluation's return."""
        return self.evaluations["eval/return_mean"][-1] if self.evaluations else math.nan

    @property
    def best(self) -> float:
        """The highest evaluation's return."""
        best = best_evaluation(self.evaluations)
        return math.nan if best is None else best[0]

    @property
    def seconds(self) -> float:
        """Seconds of training at the last evaluation."""
        return self.evaluations["seconds"][-1] if "seconds" in self.evaluations else math.nan

    @property
    def score(self) -> float:
        """Mean return of the evaluations in the last tenth of the run."""
        steps = self.evaluations.get("step", [])
        late = [
            value
            for step, value in zip(steps, self.evaluations.get("eval/return_mean", []), strict=True)
            if step >= 0.9 * steps[-1]
        ]
        return sum(late) / len(late) if late else math.nan


@dataclass(frozen=True)
class Setting:
    """Runs of one task that differ in NO_SETTINGS alone."""

    name: str
    key: str
    """Values of the options in which the settings of any task differ: equal where two tasks have the same setting."""
    options: Mapping[str, Any]
    """The options in which the settings of the task differ."""
    runs: Sequence[Run]

    @property
    def judged(self) -> list[Run]:
        """The runs whose returns count: those that are finished, or all that have evaluations where none is."""
        finished = [run for run in self.runs if run.status == FINISHED and run.evaluations]
        return finished or [run for run in self.runs if run.evaluations and run.status != FAILED]

    @property
    def counts(self) -> str:
        """How many runs there are, by status."""
        statuses = [run.status for run in self.runs]
        return ", ".join(f"{statuses.count(s)} {s}" for s in (FINISHED, RUNNING, FAILED) if s in statuses)


def find_runs(patterns: Sequence[str]) -> tuple[list[Run], list[str]]:
    """Return the runs that `patterns` name, and one line on each folder that is left out; files are passed over.

    Raises:
        InputError: if a folder that is named in full is no run folder or is damaged, a pattern matches nothing, or no
            run is left.
    """
    folders: dict[Path, bool] = {}
    for pattern in patterns:
        if Path(pattern).exists() or not glob.has_magic(pattern):
            folders[Path(pattern)] = True
            continue
        matches = sorted(match for match in glob.glob(pattern) if Path(match).is_dir())
        if not matches:
            raise InputError(
                f"runs={pattern} matches no folder; give folders that acer-train wrote, as in runs=[runs/*]"
            )
        for match in matches:
            folders.setdefault(Path(match), False)
    runs, left_out, seen = [], [], set()
    for folder, is_named in folders.items():
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        try:
            runs.append(read_run(folder))
        except InputError as error:
            if is_named:
                raise
            left_out.append(str(error))
    if not runs:
        raise InputError(f"runs={','.join(patterns)} has no run folder: {left_out[0]}")
    return runs, left_out


def read_run(folder: Path) -> Run:
    """Return what a run folder holds.

    Raises:
        InputError: if it is no run folder, or one of its files is damaged.
    """
    config = read_config(folder)
    task, seed, steps = config.get("task", {}), config.get("seed"), config.get("steps")
    if not (isinstance(task.get("id"), str) and isinstance(seed, int) and isinstance(steps, int)):
        raise InputError(
            f"{folder} is not a run folder: its config.yaml names no task, seed and steps; "
            "give the run_dir of acer-train"
        )
    evaluations, score = _complete(read_evaluations(folder)), read_score(folder)
    reached = last_step(evaluations, read_table(folder / "metrics.csv"))
    is_whole = bool(evaluations) and evaluations["step"][-1] >= steps
    lines = (line.partition(": ") for line in read_text(folder / "environment.txt").splitlines())
    return Run(
        folder=folder,
        task=f"{task.get('suite', 'gymnasium')}/{task['id']}",
        settings=_settings(config),
        seed=seed,
        steps=steps,
        reached=reached,
        evaluations=evaluations,
        status=FAILED if failure(folder) else FINISHED if is_whole else RUNNING,
        exported=float(score["return_mean"]) if score else math.nan,
        versions={name: value for name, _, value in lines if name != "cores"},
    )


def group(runs: Sequence[Run]) -> dict[str, list[Setting]]:
    """Return the settings of each task, in the order of their first run."""
    of_tasks = {
        task: [run for run in runs if run.task == task] for task in dict.fromkeys(run.task for run in runs)
    }
    differing = {task: _differing(members) for task, members in of_tasks.items()}
    anywhere = list(dict.fromkeys(name for names in differing.values() for name in names))
    keys = {run.folder: repr([run.settings.get(name, NOT_THERE) for name in anywhere]) for run in runs}
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys.values()), 1)}
    tasks: dict[str, list[Setting]] = {}
    for task, of_task in of_tasks.items():
        settings: dict[str, list[Run]] = {}
        for run in of_task:
            settings.setdefault(keys[run.folder], []).append(run)
        tasks[task] = []
        for key, members in settings.items():
            options = {name: members[0].settings.get(name, NOT_THERE) for name in differing[task]}
            members.sort(key=lambda run: run.seed)
            tasks[task].append(Setting(_name(options, numbers[key]), key, options, members))
    return tasks


def _differing(runs: Sequence[Run]) -> list[str]:
    """Return the options in which runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [name for name in names if len({repr(run.settings.get(name, NOT_THERE)) for run in runs}) > 1]


def _complete(evaluations: Table) -> Table:
    """Return the rows of eval.csv whose return is a finite number, in the order of their steps."""
    returns = evaluations.get("eval/return_mean", [])
    rows = sorted(
        (i for i, value in enumerate(returns) if math.isfinite(value)), key=lambda i: evaluations["step"][i]
    )
    return {name: [values[i] for i in rows] for name, values in evaluations.items()} if rows else {}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide what is learnt; an option that an older version lacks has its default."""
    flat = _flatten(dataclasses.asdict(TrainConfig())) | _flatten(config)
    return {
        name: value
        for name, value in flat.items()
        if not {name, name.split(".")[0], name.split(".")[-1]} & {*NO_SETTINGS, "task.suite", "task.id"}
        and not _is_without_effect(name, value)
    }


def _is_without_effect(name: str, value: object) -> bool:
    """Whether an option has a value that no version gives an effect: products in float32, or a retired option's."""
    group, _, leaf = name.rpartition(".")
    retired = RETIRED.get(group or "train", {})
    return (leaf in retired and retired[leaf] == value) or (name == "learner.precision" and value != "bf16")


def _flatten(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        elif not isinstance(value, Mapping):
            flat[f"{prefix}{name}"] = value
    return flat


def _name(options: Mapping[str, Any], number: int) -> str:
    if not options:
        return "all runs"
    name = ", ".join(f"{key.removeprefix('learner.')}={shown(value)}" for key, value in options.items())
    return name if len(name) <= LONGEST_NAME else f"setting {number}"


def shown(value: object) -> str:
    """Show an option's value as the command line takes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return str(value)
