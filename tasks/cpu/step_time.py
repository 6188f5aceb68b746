"""How many seconds one step of an environment takes: measured in its simulation, else what the environment says."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from acer_robot.errors import InputError
from acer_robot.tasks.cpu.probe import Seen

AGREES = 1e-6
"""Relative difference up to which the environment's own `dt` counts as equal to the measured time."""


def step_time(
    env: gymnasium.Env[Any, Any], task_id: str, seen: Seen | None, calls: int
) -> tuple[float, int, tuple[str, ...]]:
    """Return the seconds of one environment step, its physics steps, and notes about what was seen.

    Args:
        env: the environment.
        task_id: the id as the user wrote it.
        seen: what the probe saw in a MuJoCo simulation, or None without one.
        calls: how often one step calls the innermost environment; a wrapper may do so several times.

    Raises:
        InputError: if neither the simulation nor the environment tells.
    """
    own = _own_dt(env.unwrapped)
    if seen is not None and seen.physics_steps is not None:
        measured = seen.physics_steps * seen.timestep
        if own is None or math.isclose(own, measured, rel_tol=AGREES):
            return own or measured, seen.physics_steps, ()
        note = f"One step simulates {measured:g} s, while the environment's dt says {own:g} s."
        return measured, seen.physics_steps, (note,)
    stated = own if own is not None else _frame_time(env, task_id)
    skip = getattr(env.unwrapped, "frame_skip", 1)
    physics_steps = int(skip) if isinstance(skip, int | np.integer) and skip >= 1 else 1
    note = f"One step takes {calls} steps of the innermost environment, of {stated:g} s each."
    return stated * calls, physics_steps * calls, (note,) if calls > 1 else ()


def _own_dt(env: gymnasium.Env[Any, Any]) -> float | None:
    """Return the attribute or method `dt` as a positive number; None if there is no such number."""
    given: Any = getattr(env, "dt", None)
    if callable(given):
        try:
            given = given()
        except TypeError:  # it takes arguments: it is not the method we mean
            return None
    if isinstance(given, bool) or np.ndim(given) != 0 or np.asarray(given).dtype.kind not in "fiu":
        return None
    # The text of np.float32(0.01) is "0.01", so that we get the number as it was written.
    seconds = float(str(np.asarray(given)[()]))
    return seconds if 0.0 < seconds < math.inf else None


def _frame_time(env: gymnasium.Env[Any, Any], task_id: str) -> float:
    """Return the seconds of a frame by `metadata["render_fps"]`."""
    rate = (env.metadata or {}).get("render_fps")
    if not rate:
        raise InputError(
            f"task.id={task_id!r} does not say how many seconds a step takes, which a controller must know; "
            f"give the environment an attribute `dt` or metadata['render_fps']"
        )
    try:
        frames = float(rate)
    except (TypeError, ValueError):
        frames = math.nan
    if not 0.0 < frames < math.inf:
        raise InputError(
            f"task.id={task_id!r} has metadata['render_fps']={rate!r}; expected a positive number, or an "
            f"attribute `dt` of the environment in seconds"
        )
    return 1.0 / frames
