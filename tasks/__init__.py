"""Tasks: dm_control and Gymnasium MuJoCo behind one vector interface."""

from acer_robot.tasks.cpu.inside import INSIDE
from acer_robot.tasks.files import absolute_files
from acer_robot.tasks.interface import StepResult, VectorTask, command_limits
from acer_robot.tasks.make import make_task, make_training_task
from acer_robot.tasks.robot.known import with_velocity

__all__ = [
    "INSIDE",
    "StepResult",
    "VectorTask",
    "absolute_files",
    "command_limits",
    "make_task",
    "make_training_task",
    "with_velocity",
]
