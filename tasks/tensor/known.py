"""The tasks that have tensor functions, by the names that task.suite and task.id give them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks.tensor.ant import ant
from acer_robot.tasks.tensor.half_cheetah import half_cheetah
from acer_robot.tasks.tensor.hopper import hopper
from acer_robot.tasks.tensor.humanoid import humanoid
from acer_robot.tasks.tensor.task import TensorTask
from acer_robot.tasks.tensor.walker2d import walker2d

GYMNASIUM: dict[str, Callable[..., TensorTask]] = {
    "HalfCheetah-v5": half_cheetah,
    "Walker2d-v5": walker2d,
    "Hopper-v5": hopper,
    "Ant-v5": ant,
    "Humanoid-v5": humanoid,
}
"""Gymnasium's id -> the function that makes the task; its arguments are what task.kwargs takes."""


def tensor_task(config: TaskConfig) -> TensorTask:
    """Return the task that the options name.

    Raises:
        InputError: if it has no tensor functions, or task.kwargs does not fit.
    """
    if config.suite != "gymnasium" or config.id not in GYMNASIUM:
        raise InputError(
            f"task.backend={config.backend} needs a task with tensor functions, and task.id={config.id!r} of "
            f"task.suite={config.suite} has none; choose one of {', '.join(GYMNASIUM)}, or set task.backend=cpu"
        )
    make = GYMNASIUM[config.id]
    kwargs = dict(config.kwargs)
    limit = kwargs.pop("max_episode_steps", None)
    allowed = inspect.signature(make).parameters
    for name, value in {**kwargs, **({} if limit is None else {"max_episode_steps": limit})}.items():
        if name not in (*allowed, "max_episode_steps"):
            raise InputError(
                f"task.kwargs names {name!r}, which {config.id} does not take with task.backend={config.backend}; it "
                f"takes {', '.join(allowed)}, max_episode_steps; task.backend=cpu takes all of Gymnasium's"
            )
        whole = name in ("frame_skip", "max_episode_steps")
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not fits or (whole and value < 1):
            raise InputError(
                f"task.kwargs has {name}={value!r}; expected a {'whole number above 0' if whole else 'number'}"
            )
    task = make(**kwargs)
    return task if limit is None else dataclasses.replace(task, time_limit=limit)
