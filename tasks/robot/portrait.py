"""A robot as a picture of its home pose, and as a file that MuJoCo reads without this package."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acer_robot.schema import TaskConfig
from acer_robot.tasks.model.cameras import TRACKING
from acer_robot.tasks.model.simulator import load_simulator
from acer_robot.tasks.robot.build import build_robot
from acer_robot.tasks.robot.known import is_legged, robot_task
from acer_robot.tasks.tensor.pictures import Pictures


def robot_xml(config: TaskConfig) -> str:
    """Return a robot with its floor, actuators, sensors and home pose as MJCF.

    Raises:
        InputError: if the robot or an option cannot be used.
    """
    return build_robot(config, config.kwargs.get("timestep"), is_legged(config)).xml


def home_picture(config: TaskConfig, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a picture [H, W, 3] of a robot's home pose. MUJOCO_GL must be set before MuJoCo is imported."""
    mujoco = load_simulator("mujoco", rendering=True)
    task = robot_task(config)
    data = mujoco.MjData(task.model)
    mujoco.mj_resetDataKeyframe(task.model, data, task.model.key("home").id)
    mujoco.mj_forward(task.model, data)
    pictures = Pictures(task.model, size, TRACKING, task.id)
    try:
        return pictures.draw(task.model, data)
    finally:
        pictures.close()
