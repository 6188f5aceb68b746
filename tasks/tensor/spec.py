"""From a tensor task and the options of a run to what a policy must know."""

from __future__ import annotations

from importlib.metadata import version

from acer_robot.rate_limit import check_low_pass, is_limited, slew_rates
from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds, TaskSpec, narrow_bounds
from acer_robot.tasks.model.actuators import describe_robot
from acer_robot.tasks.tensor.task import TensorTask


def narrowed(bounds: ActionBounds, config: TaskConfig) -> ActionBounds:
    """Return bounds that are narrowed as `task.bounds` says.

    Raises:
        InputError: if it cannot be used.
    """
    return narrow_bounds(bounds.names, bounds.low, bounds.high, config.bounds, bounds.rest)


def describe(task: TensorTask, config: TaskConfig) -> TaskSpec:
    """Return the specification of a task with these options.

    Raises:
        InputError: if task.bounds, task.slew_rate or task.low_pass_hz cannot be used.
    """
    check_low_pass(config.low_pass_hz)
    bounds = narrowed(task.bounds, config)
    rates = slew_rates(bounds.names, config.slew_rate)
    packages = ("gymnasium", "mujoco") if task.id.startswith("gymnasium/") else ("mujoco",)
    return TaskSpec(
        id=task.id,
        observation=task.layout,
        bounds=bounds,
        control_dt=task.model.opt.timestep * task.frame_skip,
        frame_skip=task.frame_skip,
        action_repeat=config.action_repeat,
        time_limit=task.time_limit,
        versions=tuple((package, version(package)) for package in packages),
        slew_rate=rates,
        low_pass_hz=config.low_pass_hz,
        observes_last_command=is_limited(rates, config.low_pass_hz),
        robot=describe_robot(task.model, bounds, task.file),
    )
