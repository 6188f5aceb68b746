"""`acer-train`: train a policy with ACER; then export it, render a video and write a report."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from acer_robot.commands.compose import given_names, run_command
from acer_robot.commands.sweep_job import run_sweep_job
from acer_robot.errors import NonFiniteError, TaskError
from acer_robot.interrupt import exit_status
from acer_robot.schema import TrainConfig
from acer_robot.shell import typed

_BUILT: set[str] = set()
"""Tasks, as text, that this process has built to check the jobs of a sweep."""


def check_job(config: TrainConfig) -> None:
    """Raise InputError for an option that cannot be used, before the first job of a sweep starts."""
    from acer_robot.tasks import make_task
    from acer_robot.training.validate import check_train, select_device

    check_train(config, resuming=config.resume is not None)
    select_device(config.device)
    task = repr(config.task)
    if task not in _BUILT:  # the jobs of a sweep often share a task
        make_task(config.task, num_envs=1, seed=0).close()
        _BUILT.add(task)


def _command(config: TrainConfig) -> float | None:
    """Train. Give a sweeper the exported policy's return, or the best evaluation's where nothing is exported."""
    if config.sweep_dir is not None:
        run_dir = run_sweep_job(config.sweep_dir, config.device)
        return result_of(run_dir, config.hand_over)
    # Imports that take seconds come late: help, versions and mistyped options answer at once.
    from acer_robot.training.announce import next_commands
    from acer_robot.training.resume import resumed_config
    from acer_robot.training.run import train

    config = resumed_config(config, given_names())
    try:
        run_dir = train(config)
    except KeyboardInterrupt as error:
        print(f"interrupted; {_what_is_left(Path(config.run_dir))}", file=sys.stderr)
        raise SystemExit(exit_status(error)) from None
    except (NonFiniteError, TaskError) as error:
        raise type(error)(f"training stopped: {error}") from error
    print(*next_commands(run_dir, config), sep="\n", flush=True)
    return result_of(run_dir, config.hand_over)


def result_of(run_dir: Path, hand_over: bool) -> float | None:
    """Return the exported policy's return, or the best evaluation's where nothing is exported."""
    from acer_robot.run_folder.tables import best_evaluation, read_table

    if hand_over:
        return float(json.loads((run_dir / "export" / "evaluation.json").read_text())["return_mean"])
    best = best_evaluation(read_table(run_dir / "eval.csv"))
    return best[0] if best else None


def _what_is_left(run_dir: Path) -> str:
    """Return what the user can do after an interrupt."""
    if (run_dir / "checkpoints" / "latest.pt").is_file():
        return (
            f"go on with: acer-train {typed('resume', run_dir)}; or export what was learnt with: acer-export "
            f"{typed('run', run_dir)}"
        )
    if run_dir.is_dir():
        return (
            "nothing was learnt yet, so there is no checkpoint to export; before the same command can run again, "
            f"remove the run folder: rm -r {shlex.quote(str(run_dir))}"
        )
    return "nothing was created"


def main() -> None:
    """Run `acer-train`."""
    run_command("train", TrainConfig, _command)


if __name__ == "__main__":
    main()
