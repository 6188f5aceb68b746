"""What the commands of a task are: a model's actuators if the probe saw them arrive, else the environment's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds
from acer_robot.tasks.cpu.probe import Seen, probe_interface, probe_simulation, simulation_of
from acer_robot.tasks.cpu.spaces import (
    check_neutral_names,
    command_bounds,
    expected_limits,
    space_is_the_models,
)

if TYPE_CHECKING:
    from mujoco import MjModel


@dataclass(frozen=True)
class Commands:
    """What the probe found out about a task's commands."""

    bounds: ActionBounds
    """Names of joints where `is_actuator`, else action_0, action_1, .."""
    is_actuator: bool
    """Whether a command arrives in MuJoCo's ctrl as it is."""
    seen: Seen | None
    """What the simulation did; None: there is no MuJoCo simulation."""
    calls: int
    """How often one step calls the innermost environment. It is 1 where there is a simulation."""
    notes: tuple[str, ...]
    """Facts that a user of the policy must know, one sentence each."""


def measure_commands(
    env: gymnasium.Env[Any, Any], config: TaskConfig, model: MjModel | None, wrapped: bool
) -> Commands:
    """Try commands in `env` and say what they are. Do not use `env` afterwards.

    Args:
        env: the environment.
        config: its options.
        model: the model of its simulation, or None if it has none.
        wrapped: whether a wrapper may change commands or observations.

    Raises:
        InputError: if the environment does not follow Gymnasium's interface, its limits cannot be used, or
            an option names a joint where commands belong to none.
    """
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    names, low, high = expected_limits(space, None if wrapped else model, config.bounds)
    seen, calls = None, 1
    notes: tuple[str, ...] = ()
    if simulation_of(env) is None or model is None:
        rest = np.where((low <= 0.0) & (high >= 0.0), 0.0, np.where(np.isinf(low), high, low))
        calls = probe_interface(env, config.id, rest)
        reason = "the task shows no MuJoCo simulation"
    else:
        seen = probe_simulation(env, config.id, low, high, names)
        reason = _reason(space, model, seen, wrapped)
        if seen.departure is not None:
            notes = (f"The commands are the environment's, not an actuator's: {seen.departure}.",)
    if reason:
        # One number holds for all commands, and needs no names.
        by_joint = config.slew_rate if isinstance(config.slew_rate, Mapping) else {}
        named = {"task.bounds": config.bounds, "task.slew_rate": by_joint}
        check_neutral_names(config.id, named, low.size, reason)
    bounds = command_bounds(space, None if reason else model, config.bounds)
    return Commands(bounds, not reason, seen, calls, notes)


def _reason(space: gymnasium.spaces.Box, model: MjModel, seen: Seen, wrapped: bool) -> str:
    """Say in a clause why the commands are not the actuators'; "" if they are."""
    if seen.departure is not None:
        return seen.departure
    if wrapped:
        return "a wrapper stands between the commands and the model"
    if not space_is_the_models(space, model):
        return "the limits of the action space are not the model's"
    return ""
