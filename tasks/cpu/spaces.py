"""Which spaces a task may have, and the per-joint bounds of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
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


def command_bounds(
    space: gymnasium.spaces.Box, model: MjModel | None, overrides: Mapping[str, Any]
) -> ActionBounds:
    """Return joint names and limits of the commands, narrowed by `overrides`.

    Args:
        space: the action space, [d].
        model: the `mujoco.MjModel` whose actuators receive the actions as they are, or None if there is none.
        overrides: `{joint name: [low, high]}` in actuator units.

    Raises:
        InputError: for NaN in the limits, a joint without finite limits, or overrides that do not fit.
    """
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    names = tuple(f"action_{i}" for i in range(low.size))
    if model is not None and _space_is_the_models(model, low, high):
        names = actuator_names(model)
        low, high = _model_limits(model, low, high)
    for name, lower, upper in zip(names, low, high, strict=True):
        if np.isnan(lower) or np.isnan(upper):
            raise InputError(
                f"joint {name!r} has NaN in its bounds [{lower}, {upper}]; mend the model or action space"
            )
    endless = np.isinf(low) | np.isinf(high)
    unbounded = [
        name for name, infinite in zip(names, endless, strict=True) if infinite and name not in overrides
    ]
    if unbounded and set(overrides) <= set(names):
        mended = ", ".join(f"{name}: [LOW, HIGH]" for name in unbounded)
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


def _space_is_the_models(model: MjModel, low: Limits, high: Limits) -> bool:
    """Return whether actions go to the actuators as they are, judged by number and limits."""
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
