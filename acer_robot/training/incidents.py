"""A moment that went wrong: what is kept of it, and how it is repeated."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acer_robot.errors import DAMAGE, InputError, NonFiniteError, TaskError, first_line
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.diagnostics import non_finite, summarise
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import config_from_dict, retired_in_use
from acer_robot.run_folder.incidents import read_incident, write_incident
from acer_robot.tasks import make_task

if TYPE_CHECKING:
    from acer_robot.training.parts import Run


def keep_incident(run: Run, error: NonFiniteError | TaskError) -> Path:
    """Keep the learner, its last batch, and the environment that failed with its last commands; return the folder."""
    failed, step = error.environment, run.collector.env_steps
    batch = None if run.batch is None else _fields(run.batch)
    content = {
        "message": str(error),
        "step": step,
        "config": dataclasses.asdict(run.config),
        "learner": {"good": run.good[1], "now": run.learner.checkpoint_state()},
        "batch": batch,
        "environment": None if failed is None else _environment(run, failed),
    }
    summary = {
        "message": str(error),
        "step": step,
        "environment": failed,
        "learner": non_finite(run.learner),
        "rewards": None if batch is None else _extent(batch["rewards"]),
    }
    return write_incident(Path(run.config.run_dir), summary, content)


def cause(run: Run) -> str:
    """Return what a learner with NaN or infinity has seen, as a clause; nothing for one whose numbers are finite."""
    names = non_finite(run.learner)
    if not names:
        return ""
    seen = "" if run.batch is None else f"; the rewards of its last batch are {_extent(run.batch.rewards)}"
    return f"; the learner's {names[0]} is not finite since an update after step {run.good[0]:,}{seen}"


def _environment(run: Run, number: int) -> dict[str, Any]:
    """Return an environment as it was some commands ago, and the commands since."""
    state, commands = run.task_before, list(run.collector.commands)
    if "missing" in state:
        return {"missing": state["missing"], "number": number}
    known = state["state"]
    filtered = known["filter"]
    return {
        "number": number,
        "state": {
            **known,
            "environments": [known["environments"][number]],
            "filter": None if filtered is None else {"previous": [filtered["previous"][number]]},
            "seeds": None,
        },
        "commands": torch.stack([command[number].cpu() for command in commands]) if commands else None,
    }


def repeat_incident(folder: Path) -> Iterator[str]:
    """Repeat what went wrong, and yield lines that say what happened.

    Raises:
        InputError: if there is no incident, its file is damaged, or its parts do not fit together.
    """
    content = read_incident(folder)
    yield f"at environment step {content['step']:,}: {content['message']}"
    try:
        yield from _repeat_environment(content)
        yield from _repeat_update(content)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{folder} does not fit together: {first_line(error)}") from error


def _repeat_environment(content: dict[str, Any]) -> Iterator[str]:
    """Give the environment its last commands again."""
    environment, config = content["environment"], config_from_dict(content["config"])
    if environment is None:
        return
    number = environment["number"]
    if "missing" in environment or environment["commands"] is None:
        yield f"environment {number} cannot be repeated: {environment.get('missing', 'it got no command yet')}"
        return
    task = make_task(dataclasses.replace(config.task, workers=0), 1, 0)
    try:
        task.reset()
        task.restore(environment["state"])
        before, commands = task.unstable_steps, environment["commands"]
        for count, command in enumerate(commands, 1):
            try:
                task.step(command.unsqueeze(0))
            except (NonFiniteError, TaskError) as error:
                yield f"environment {number}, alone: after {count} of {len(commands)} commands: {error}"
                return
        unstable = task.unstable_steps - before
        yield (
            f"environment {number}, alone: it took its last {len(commands)} commands without an error; MuJoCo found it "
            f"unstable after {unstable} of them"
        )
    finally:
        task.close()


def _repeat_update(content: dict[str, Any]) -> Iterator[str]:
    """Repeat an update of the last good learner on the last batch."""
    if content["batch"] is None:
        return
    if retired := [name for name in retired_in_use(content["config"]) if name.startswith("learner.")]:
        yield (
            f"the update cannot be repeated: the run had {', '.join(retired)}, which this version no longer has; use "
            "the version that wrote it (environment.txt)"
        )
        return
    config, batch = config_from_dict(content["config"]).learner, Trajectory(**content["batch"])
    sizes = batch.observations.shape[-1], batch.actions.shape[-1]
    learner = Learner(dataclasses.replace(config, compile=False), *sizes, torch.device("cpu"))
    learner.restore(content["learner"]["now"])
    if names := non_finite(learner):
        yield f"the learner's numbers that are not finite: {', '.join(names)}"
    for name, values in content["batch"].items():
        if values.is_floating_point():
            yield f"last batch, {name}: {_extent(values)}"
    learner.restore(content["learner"]["good"])
    try:
        numbers = summarise(learner.update(batch), learner, content["step"])
    except NonFiniteError as error:
        yield f"one update of the last good learner on that batch: {error}"
        return
    yield f"one update of the last good learner on that batch: finite, with loss/q {numbers['loss/q']:.4g}"


def _fields(batch: Trajectory) -> dict[str, Any]:
    return {
        field.name: getattr(batch, field.name).detach().cpu().clone() for field in dataclasses.fields(batch)
    }


def _extent(values: torch.Tensor) -> str:
    return f"between {values.min():.4g} and {values.max():.4g}"
