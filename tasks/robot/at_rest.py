"""What actuators with a state of their own hold at the start of an episode: as after long at the commands at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acer_robot.tasks.robot.actuators import position_command

if TYPE_CHECKING:
    from mujoco import MjModel


def holding_input(model: MjModel, number: int, position: float) -> float:
    """Return the command, or the state of an integrator, that holds a joint at a position; 0 where none does."""
    slope, offset = position_command(model, number) or (0.0, 0.0)
    return slope * position + offset


def activations(model: MjModel, rest: Sequence[float], angles: Mapping[str, float]) -> list[float]:
    """Return act [na] at rest.

    A filter holds its command. An integrator holds what it drives its joint to: the joint's position where its force
    depends on that, else 0.

    Args:
        model: the robot, with one joint for each actuator.
        rest: command of each actuator.
        angles: position of each joint in the home pose.
    """
    import mujoco

    act = np.zeros(model.na)
    for number, command in enumerate(rest):
        count = int(model.actuator_actnum[number])
        if not count:
            continue
        value = command
        if model.actuator_dyntype[number] == mujoco.mjtDyn.mjDYN_INTEGRATOR:
            joint = str(model.joint(int(model.actuator_trnid[number, 0])).name)
            value = holding_input(model, number, angles[joint])
        if model.actuator_actlimited[number]:
            value = float(np.clip(value, *model.actuator_actrange[number]))
        act[int(model.actuator_actadr[number]) + count - 1] = value
    return [float(value) for value in act]


def state_at_rest(model: MjModel, key: str) -> dict[str, tuple[float, ...]]:
    """Return act and history (of delays) of a keyframe and its commands; {} where no actuator has them.

    Args:
        model: the robot.
        key: name of the keyframe.
    """
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key(key).id)
    for number, command in enumerate(data.ctrl):
        samples = int(model.actuator_history[number, 0])
        if samples:
            mujoco.mj_initCtrlHistory(model, data, number, None, np.full((samples, 1), command))
    fields = {"act": data.act, "history": data.history}
    return {name: tuple(values.tolist()) for name, values in fields.items() if values.size}
