"""The robustness table: how a policy file does where the robot and its world differ from the simulation."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from acer_robot.errors import InputError
from acer_robot.experience.episodes import run_rounds
from acer_robot.policies.exported.file import LoadedPolicy
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task

EPISODES = 30
"""Episodes of each row."""
NOISE = 0.1
"""Standard deviation of the noise, as a share of what training saw of each entry of the observation."""
PUSH = {"seconds": 5.0, "speed": 0.5}
FACTORS = {"friction": "geom_friction", "mass": "body_mass", "gains": "actuator_kp"}
"""What is scaled -> its name in task.randomize."""
NOT_SENSED = ("command", "last_command")
"""Kinds of observations that no sensor measures."""


def robustness(policy: LoadedPolicy, seed: int, episodes: int = EPISODES) -> dict[str, Any]:
    """Run a policy file in its task as it is and with one thing changed at a time, on mujoco.batch.

    Returns:
        `rows`: name, mean return and number of falls of each change, or why it cannot be had; `worst`: the name of the
        change with the lowest return, None if all do better than the nominal row; `episodes` and `seed`.

    Raises:
        InputError: if the task has no tensor functions.
    """
    plain = tensor_config(policy.task_config)
    neutral = _neutral(plain, policy)
    rows = []
    for name, change in changes(policy).items():
        config = dataclasses.replace(neutral, **change)
        if "randomize" in change:
            config = dataclasses.replace(config, randomize=neutral.randomize | change["randomize"])
        try:
            rows.append({"name": name, **_row(policy, config, episodes, seed)})
        except InputError as error:
            if name == "nominal":
                raise
            rows.append({"name": name, "return_mean": None, "falls": None, "reason": str(error)})
    measured = [row for row in rows if row["return_mean"] is not None]
    lowest = min(measured, key=lambda row: row["return_mean"])["name"]
    worst = None if lowest == "nominal" else lowest
    return {"rows": rows, "worst": worst, "episodes": episodes, "seed": seed}


def tensor_config(config: TaskConfig) -> TaskConfig:
    """Return the options of the same task on mujoco.batch.

    Raises:
        InputError: if it has no tensor functions.
    """
    batch = config if config.backend != "cpu" else dataclasses.replace(config, backend="batch")
    try:
        make_task(batch, 1, 0).close()
    except InputError as error:
        raise InputError(f"robustness=true needs a task on mujoco.batch: {error}") from error
    return batch


def _neutral(plain: TaskConfig, policy: LoadedPolicy) -> TaskConfig:
    """Return the task with each disturbance of no strength, where it can be had.

    A disturbance draws random numbers. With these options every row draws as many, so that all rows have the same
    starts and the same commanded velocities until an episode ends early.
    """
    config = dataclasses.replace(plain, randomize={}, noise={}, command_delay=0, push={})
    parts: list[dict[str, Any]] = [{"randomize": {field: [1.0, 1.0]}} for field in FACTORS.values()]
    parts += [{"noise": dict.fromkeys(_noise(policy), 0.0)}, {"push": PUSH | {"speed": 0.0}}]
    for part in parts:
        merged = {name: getattr(config, name) | value for name, value in part.items()}
        with contextlib.suppress(InputError):  # the row that changes this says why it cannot be had
            make_task(dataclasses.replace(config, **merged), 1, 0).close()
            config = dataclasses.replace(config, **merged)
    return config


def changes(policy: LoadedPolicy) -> dict[str, dict[str, Any]]:
    """Return the options that each row changes; the first row is nominal."""
    rows: dict[str, dict[str, Any]] = {"nominal": {}}
    for label, field in FACTORS.items():
        for sign, factor in (("-20 %", 0.8), ("+20 %", 1.2)):
            rows[f"{label} {sign}"] = {"randomize": {field: [factor, factor]}}
    rows |= {f"delay of {n} step{'s' * (n > 1)}": {"command_delay": n} for n in (1, 2)}
    if noise := _noise(policy):
        rows["noise of 10 %"] = {"noise": noise}
    rows["pushes of up to 0.5 m/s"] = {"push": PUSH}
    return rows


def _noise(policy: LoadedPolicy) -> dict[str, float]:
    """Return the standard deviation of the noise for each entry that a sensor measures."""
    normalizer = policy.metadata["normalizer"]
    if not normalizer["enabled"]:
        return {}
    deviations = np.asarray(normalizer["std"])
    return {
        re.escape(field.name): NOISE * float(deviations[field.start : field.stop].mean())
        for field in policy.spec.observation
        if field.name.partition(":")[0] not in NOT_SENSED
    }


def _row(policy: LoadedPolicy, config: TaskConfig, episodes: int, seed: int) -> Mapping[str, Any]:
    """Run one row's episodes; an episode that ends before its time limit is a fall."""
    # In one round, as the starts of a second one would depend on who fell in the first.
    task = make_task(config, min(episodes, EPISODES), seed)
    try:
        done = run_rounds(policy.act, task, episodes, policy.reset)
    finally:
        task.close()
    limit = task.spec.time_limit
    falls = int((done.lengths < limit).sum()) if limit else 0
    return {
        "return_mean": float(done.returns.mean()),
        "return_std": float(done.returns.std()),
        "falls": falls,
    }


def check_robustness(config: TaskConfig, episodes: int) -> None:
    """Raise InputError where no robustness table can be had, before anything is written."""
    if episodes < 1:
        raise InputError("robustness=true needs episodes=1 or more: it is a part of the file's score")
    tensor_config(config)


def table_rows(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, mean return and falls of each row, as text."""
    rows = []
    for row in table["rows"]:
        mean = "not possible" if row["return_mean"] is None else f"{row['return_mean']:,.1f}"
        falls = "" if row["falls"] is None else f"{row['falls']} of {table['episodes']}"
        rows.append(
            (str(row["name"]) + (", the worst" if row["name"] == table["worst"] else ""), mean, falls)
        )
    return rows
