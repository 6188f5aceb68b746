"""Tasks: dm_control and Gymnasium MuJoCo behind one vector interface."""

from acer_robot.tasks.make import make_task
from acer_robot.tasks.vector_task import StepResult, VectorTask

__all__ = ["StepResult", "VectorTask", "make_task"]
