"""Which spaces a task may have, and the per-joint bounds of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.shell import option_key
from acer_robot.spec import ActionBounds, narrow_bounds
from acer_robot.tasks.model.names import actuator_names

if TYPE_CHECKING:
    from mujoco import MjModel

Limits = npt.NDArray[np.float64]


def check_spaces(task_id: str, env: gymnasium.Env[Any, Any]) -> None:
    """Raise InputError unless observations and actions are flat boxes of floats."""
    observation, action = env.observation_space, env.action_space
    if not _is_flat_box(action):
        raise InputError(
            f"task.id={task_id!r} has the action space {one_line(action)}; expected a flat Box of floats: "
            f"choose a task with continuous actions"
        )
    if not _is_flat_box(observation):
        raise InputError(
            f"task.id={task_id!r} has the observation space {one_line(observation)}; expected a flat "
            f"Box of floats: register it wrapped in gymnasium.wrappers.FlattenObservation "
            f"(pictures are not supported)"
        )
    for name, space in (("observation", observation), ("action", action)):
        if space.shape == (0,):
            raise InputError(
                f"task.id={task_id!r} has the {name} space {one_line(space)}, which is empty; expected a width of "
                f"1 or more"
            )


def expected_limits(
    space: gymnasium.spaces.Box, model: MjModel | None, overrides: Mapping[str, Any]
) -> tuple[tuple[str, ...], Limits, Limits]:
    """Return names and limits of the commands from space, model and options. Limits may be infinite.

    An override may use the joint's name or `action_i`. We skip a bad override here; `command_bounds` refuses it.

    Raises:
        InputError: for NaN in the limits.
    """
    names, low, high = _believed(space, model)
    for i, name in enumerate(names):
        for key in (name, f"action_{i}"):
            try:
                lower, upper = (float(x) for x in overrides[key])
            except (KeyError, TypeError, ValueError):
                continue
            if low[i] <= lower <= upper <= high[i]:
                low[i], high[i] = lower, upper
    return names, low, high


def check_neutral_names(task_id: str, names: Mapping[str, Mapping[str, Any]], size: int, reason: str) -> None:
    """Refuse options by joint name where the commands are not known to be an actuator's.

    Args:
        task_id: the id as the user wrote it.
        names: the options with their keys: `{"task.bounds": {..}}`.
        size: number of commands.
        reason: a clause that says why.
    """
    neutral = [f"action_{i}" for i in range(size)]
    for option, given in names.items():
        for name in given:
            if name not in neutral:
                raise InputError(
                    f"{option} names {name!r}, but the commands of task.id={task_id!r} are the environment's, so "
                    f"that none belongs to a joint: {reason}; this task has {', '.join(neutral)}"
                )


def command_bounds(
    space: gymnasium.spaces.Box, model: MjModel | None, overrides: Mapping[str, Any]
) -> ActionBounds:
    """Return joint names and limits of the commands, narrowed by `overrides`.

    Args:
        space: the action space, [d].
        model: the `mujoco.MjModel` whose actuators receive the actions as they are, or None if there is none.
        overrides: `{joint name: [low, high]}` in the command's units.

    Raises:
        InputError: for NaN in the limits, a joint without finite limits, or overrides that do not fit.
    """
    names, low, high = _believed(space, model)
    endless = np.isinf(low) | np.isinf(high)
    unbounded = [
        name for name, infinite in zip(names, endless, strict=True) if infinite and name not in overrides
    ]
    if unbounded and set(overrides) <= set(names):
        mended = ", ".join(f"{option_key(name)}: [LOW, HIGH]" for name in unbounded)
        raise InputError(
            f"the actions are unbounded for {', '.join(unbounded)}; "
            f"give finite limits: task.bounds={{{mended}}}"
        )
    return narrow_bounds(names, low.tolist(), high.tolist(), overrides)


def one_line(thing: object) -> str:
    """Return `str(thing)` on a single line."""
    return " ".join(str(thing).split())


def _is_flat_box(space: gymnasium.Space[Any]) -> bool:
    return (
        isinstance(space, gymnasium.spaces.Box)
        and len(space.shape) == 1
        and np.issubdtype(space.dtype, np.floating)
    )


def _believed(space: gymnasium.spaces.Box, model: MjModel | None) -> tuple[tuple[str, ...], Limits, Limits]:
    """Return names and limits of the commands: the model's if the action space matches it, else the space's.

    Raises:
        InputError: for NaN in the limits.
    """
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    names = tuple(f"action_{i}" for i in range(low.size))
    if model is not None and space_is_the_models(space, model):
        names = actuator_names(model)
        low, high = _model_limits(model, low, high)
    for name, lower, upper in zip(names, low, high, strict=True):
        if np.isnan(lower) or np.isnan(upper):
            raise InputError(
                f"joint {name!r} has NaN in its bounds [{lower}, {upper}]; mend the model or action space"
            )
    return names, low, high


def space_is_the_models(space: gymnasium.spaces.Box, model: MjModel) -> bool:
    """Return whether the action space has the number and the limits of the model's actuators."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if low.size != model.nu:
        return False
    expected = model.actuator_ctrlrange.astype(np.float32)
    same = np.isclose(low, expected[:, 0], rtol=1e-6) & np.isclose(high, expected[:, 1], rtol=1e-6)
    return bool(np.all(same | (model.actuator_ctrllimited == 0)))


def _model_limits(model: MjModel, low: Limits, high: Limits) -> tuple[Limits, Limits]:
    """Return ctrlrange where the actuator is limited, elsewhere the space's limits, if it has any of its own.

    Gymnasium shows an unlimited actuator as [0, 0], the model's unused ctrlrange.
    """
    limited = model.actuator_ctrllimited.astype(bool)
    ctrlrange = model.actuator_ctrlrange
    unused = (low == ctrlrange[:, 0]) & (high == ctrlrange[:, 1])
    lower = np.where(limited, ctrlrange[:, 0], np.where(unused, -np.inf, low))
    upper = np.where(limited, ctrlrange[:, 1], np.where(unused, np.inf, high))
    return lower, upper
