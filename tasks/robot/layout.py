"""What the entries of a robot's observation are called, with unit and frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from acer_robot.spec import ObservationField
from acer_robot.tasks.robot.actuators import position_command
from acer_robot.tasks.robot.build import Robot

if TYPE_CHECKING:
    from mujoco import MjModel

AXES = ("x", "y", "z")

Row = tuple[str, str, str]
"""Name, unit and frame of one entry."""


def laid_out(rows: Sequence[Row]) -> tuple[ObservationField, ...]:
    """Lay entries of width 1 end to end."""
    return tuple(ObservationField(name, i, i + 1, unit, frame) for i, (name, unit, frame) in enumerate(rows))


def joint_fields(robot: Robot) -> list[Row]:
    """Name position and velocity of each joint that a command drives."""
    lengths = [_length(robot, name) for name in robot.actuators.joints]
    joints = list(zip(robot.actuators.joints, lengths, strict=True))
    positions: list[Row] = [(f"position:{name}", unit, "") for name, unit in joints]
    return positions + [(f"velocity:{name}", f"{unit}/s", "") for name, unit in joints]


def command_fields(robot: Robot) -> list[Row]:
    """Name the last command of each joint."""
    rows: list[Row] = []
    for number, name in enumerate(robot.actuators.joints):
        length = _length(robot, name)
        unit = "N m" if length == "rad" else "N"
        if robot.actuators.is_target[number]:
            is_length = position_command(robot.model, number) == (robot.model.actuator_gear[number, 0], 0.0)
            unit = length if is_length else ""
        elif _is_velocity(robot.model, number):
            unit = f"{length}/s"
        rows.append((f"last_command:{name}", unit, ""))
    return rows


def _is_velocity(model: MjModel, number: int) -> bool:
    """Return whether a command is a velocity, as MuJoCo's actuators velocity and intvelocity have it."""
    import mujoco

    gain, (_, position, velocity) = model.actuator_gainprm[number, 0], model.actuator_biasprm[number, :3]
    if model.actuator_dyntype[number] == mujoco.mjtDyn.mjDYN_INTEGRATOR:
        return bool(position == -gain)
    return bool(position == 0.0 and velocity == -gain)


def _length(robot: Robot, name: str) -> str:
    import mujoco

    slides = robot.model.joint(name).type[0] == int(mujoco.mjtJoint.mjJNT_SLIDE)
    return "m" if slides else "rad"
