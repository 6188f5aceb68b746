"""From a task's options to environments that can be stepped."""

from __future__ import annotations

import functools
import sys

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig, check_choice, check_range
from acer_robot.spec import TaskSpec
from acer_robot.tasks.cpu import from_dm_control, from_gymnasium
from acer_robot.tasks.cpu.vector_task import VectorTask


def make_task(
    config: TaskConfig, num_envs: int, seed: int, render_size: tuple[int, int] | None = None
) -> VectorTask:
    """Make `num_envs` environments of a task, each with a random stream of its own, derived from `seed`.

    Args:
        config: which task, and how it is driven.
        num_envs: number of environments B.
        seed: the same seed gives the same episodes for the same commands.
        render_size: (width, height) in pixels, if environment 0 is to be drawn.

    Raises:
        InputError: if the task does not exist, its actions are not continuous and bounded, its observations
            are not flat, or an option does not fit it.
    """
    check_choice("task.suite", config.suite, ("gymnasium", "dm_control"))
    check_range("task.action_repeat", config.action_repeat, 1)
    check_range("num_envs", num_envs, 1)
    check_range("seed", seed, 0)
    if render_size is not None and min(render_size) < 1:
        raise InputError(f"a picture of {render_size[0]} x {render_size[1]} pixels is empty; enlarge it")
    build = from_dm_control.build if config.suite == "dm_control" else from_gymnasium.build
    spec = _measured(config, render_size)
    first = build(config, render_size)
    return VectorTask(spec, [first, *(build(config, None) for _ in range(num_envs - 1))], seed)


def _measured(config: TaskConfig, render_size: tuple[int, int] | None) -> TaskSpec:
    """Return what is seen of the task in an environment of its own, so that no number of a run depends on it."""
    suite = from_dm_control if config.suite == "dm_control" else from_gymnasium
    trial = suite.build(config, render_size)
    try:
        spec: TaskSpec = suite.describe(trial, config)
    finally:
        trial.close()
    for note in spec.notes:
        _say_once(f"{spec.id}: {note}")
    return spec


@functools.cache
def _say_once(text: str) -> None:
    """Print a line to stderr, the first time: a run makes the same task several times."""
    print(text, file=sys.stderr)
