"""From a task's options to environments that can be stepped."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from typing import Any

import torch

from acer_robot.errors import InputError
from acer_robot.memory import check_memory, free_memory, used_memory
from acer_robot.rate_limit import is_limited
from acer_robot.schema import TaskConfig, check_choice, check_range
from acer_robot.spec import TaskSpec
from acer_robot.tasks.cpu import from_dm_control, from_gymnasium
from acer_robot.tasks.cpu.vector_task import CpuTask
from acer_robot.tasks.cpu.workers import WorkerTask
from acer_robot.tasks.interface import VectorTask
from acer_robot.tasks.model.cameras import TRACKING
from acer_robot.tasks.robot.known import robot_task
from acer_robot.tasks.tensor.disturb import with_command_delay, with_noise, with_pushes
from acer_robot.tasks.tensor.known import tensor_task
from acer_robot.tasks.tensor.make import make_tensor_task
from acer_robot.tasks.tensor.randomize import with_randomized_models
from acer_robot.tasks.tensor.spec import narrowed
from acer_robot.tasks.tensor.task import TensorTask

MAX_ACTION_REPEAT = 1000
"""Environment steps that one command may be held for."""
MAX_ENVIRONMENTS = 1_000_000
ROBOT_OPTIONS = ("model", "actuators", "home", "reward", "velocity")
"""Options that task.suite=robot alone reads."""
TENSOR_OPTIONS = ("randomize", "noise", "command_delay", "push")
"""Options that tensor tasks alone read."""
TRIED = 8
"""Environments that are built first, to measure the memory of one."""


def make_task(
    config: TaskConfig,
    num_envs: int,
    seed: int,
    render_size: tuple[int, int] | None = None,
    camera: str = TRACKING,
    training_on: torch.device | None = None,
) -> VectorTask:
    """Make `num_envs` environments of a task. Each has its own random stream, derived from `seed`.

    Args:
        config: the options of the task.
        num_envs: number of environments B.
        seed: the same seed gives the same episodes for the same commands.
        render_size: (width, height) in pixels, if environment 0 is to be drawn.
        camera: what draws it: "tracking", "free", or a camera of the model.
        training_on: the learner's device, if the task is to be trained in. task.backend=warp simulates there. Without
            it, the task scores or shows a policy, and MuJoCo C simulates: a task of "warp" then runs on "batch".

    Raises:
        InputError: if the task does not exist, its actions are not continuous and bounded, its observations
            are not flat, it has no such camera, or an option does not fit it.
    """
    check_choice("task.suite", config.suite, ("gymnasium", "dm_control", "robot"))
    check_choice("task.backend", config.backend, ("cpu", "batch", "warp"))
    check_range("task.action_repeat", config.action_repeat, 1, MAX_ACTION_REPEAT)
    if _has_nan(config.kwargs):
        raise InputError(f"task.kwargs={config.kwargs} holds a NaN; give a number")
    check_range("num_envs", num_envs, 1, MAX_ENVIRONMENTS)
    check_range("seed", seed, 0)
    if render_size is not None and min(render_size) < 1:
        raise InputError(f"a picture of {render_size[0]} x {render_size[1]} pixels is empty; enlarge it")
    _check_robot_options(config)
    if config.backend != "cpu" or config.suite == "robot":
        task = robot_task(config) if config.suite == "robot" else tensor_task(config)
        task = disturbed(task, config)
        return make_tensor_task(task, config, num_envs, seed, render_size, camera, training_on)
    build = from_dm_control.build if config.suite == "dm_control" else from_gymnasium.build
    spec = _measured(config, render_size, camera)
    first = build(config, render_size, camera)
    environments, used = [first], used_memory()
    while len(environments) < num_envs:
        environments.append(build(config, None))
        if len(environments) == TRIED and used is not None:
            each = ((used_memory() or 0) - used) / (TRIED - 1)
            what, remedy = (
                f"{num_envs:,} environments of {spec.id}",
                "lower num_envs or the number of episodes",
            )
            check_memory(what, each * (num_envs - TRIED), free_memory(), remedy)
    return CpuTask(spec, environments, seed)


def disturbed(task: TensorTask, config: TaskConfig) -> TensorTask:
    """Return the task with what task.randomize, task.noise, task.command_delay and task.push add to it.

    Its bounds are then those of task.bounds: a delayed robot begins with a command within them.

    Raises:
        InputError: if one of them cannot be used.
    """
    task = dataclasses.replace(task, bounds=narrowed(task.bounds, config))
    task = with_randomized_models(task, config.randomize)
    task = with_command_delay(task, config.command_delay)
    return with_pushes(with_noise(task, config.noise), config.push)


def _check_robot_options(config: TaskConfig) -> None:
    """Raise InputError for options that the task would not read: those of robots, or of tensor tasks."""
    for name in ROBOT_OPTIONS if config.suite != "robot" else ():
        if getattr(config, name) not in (None, {}):
            raise InputError(
                f"task.{name}={getattr(config, name)!r} is an option of task=robot, which {config.id} does not read; "
                "leave it out"
            )
    for name in TENSOR_OPTIONS if config.backend == "cpu" and config.suite != "robot" else ():
        if getattr(config, name) not in (0, {}):
            raise InputError(
                f"task.{name}={getattr(config, name)!r} needs a tensor task; set task.backend=batch, or leave it out"
            )


def _measured(config: TaskConfig, render_size: tuple[int, int] | None, camera: str) -> TaskSpec:
    """Measure the task in a separate environment, so that the numbers of a run do not depend on the measurement."""
    suite = from_dm_control if config.suite == "dm_control" else from_gymnasium
    trial = suite.build(config, render_size, camera)
    try:
        spec: TaskSpec = suite.describe(trial, config)
    finally:
        trial.close()
    for note in spec.notes:
        _say_once(f"{spec.id}: {note}")
    limited = is_limited(spec.slew_rate, spec.low_pass_hz)
    return dataclasses.replace(spec, observes_last_command=limited)


def make_training_task(
    config: TaskConfig, num_envs: int, seed: int, timeout: float, training_on: torch.device | None = None
) -> VectorTask:
    """Make a task as `make_task` does, in `config.workers` processes if there are any.

    There, a step or a reset that takes longer than `timeout` seconds counts as failed.

    Raises:
        InputError: as `make_task`, or if there are workers and the backend is not "cpu".
        TaskError: if an environment cannot be made in a process of its own.
    """
    if config.workers == 0:
        return make_task(config, num_envs, seed, training_on=training_on)
    if config.backend != "cpu":
        raise InputError(
            f"task.workers={config.workers} are processes for environments of task.backend=cpu, and the backend is "
            f"{config.backend}; set task.workers=0"
        )
    make_task(config, 1, seed).close()  # what is wrong with the options is said here
    build = from_dm_control.build if config.suite == "dm_control" else from_gymnasium.build
    return WorkerTask(config, _measured(config, None, TRACKING), num_envs, seed, build, timeout)


@functools.cache
def _say_once(text: str) -> None:
    """Print a line to stderr once, although a run makes the same task several times."""
    print(text, file=sys.stderr)


def _has_nan(value: Any) -> bool:  # noqa: ANN401 (any nesting of arguments)
    """Return whether a NaN is anywhere in `value`."""
    if isinstance(value, dict | list | tuple):
        return any(map(_has_nan, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isnan(value)
