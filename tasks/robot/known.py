"""The tasks for robots, by the name that ends task.id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks.robot.reach import reach_task
from acer_robot.tasks.robot.velocity import read_velocity, velocity_task
from acer_robot.tasks.tensor.task import TensorTask

ROBOT_TASKS: dict[str, Callable[[TaskConfig], TensorTask]] = {"velocity": velocity_task, "reach": reach_task}
"""What the last part of task.id says -> the function that makes the task: "pup-velocity" is a velocity task."""


def robot_task(config: TaskConfig) -> TensorTask:
    """Return the task that the options name.

    Raises:
        InputError: if there is no such task, the backend cannot run it, or an option does not fit.
    """
    kind = config.id.rpartition("-")[2]
    if kind not in ROBOT_TASKS:
        choices = " or ".join(f"NAME-{name}" for name in ROBOT_TASKS)
        raise InputError(f"task.id={config.id!r} of task.suite=robot is not known; give {choices}")
    if config.backend == "cpu":
        raise InputError(
            "task.backend=cpu steps environments of Gymnasium and dm_control; task.suite=robot needs task.backend=batch"
        )
    return ROBOT_TASKS[kind](config)


def is_legged(config: TaskConfig) -> bool:
    """Return whether a robot's task is to follow a velocity on its legs."""
    return config.suite == "robot" and config.id.rpartition("-")[2] == "velocity"


def with_velocity(config: TaskConfig, velocity: Sequence[float] | None) -> TaskConfig:
    """Return the options of a task in which the robot must follow one velocity. None: they stay as they are.

    Raises:
        InputError: if the task follows no velocity, or it is not three numbers.
    """
    if velocity is None:
        return config
    if not is_legged(config):
        raise InputError(
            f"task.velocity={list(velocity)} was given, but the task {config.id} follows no velocity; leave it out"
        )
    return dataclasses.replace(config, velocity=read_velocity(velocity))
