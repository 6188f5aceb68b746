"""Loading MuJoCo without a display, and preparing a model for pictures."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any


def load_simulator(module: str, rendering: bool) -> ModuleType:
    """Import `module` ("mujoco" or "dm_control.suite"), without an OpenGL backend unless pictures are asked for.

    The backend is chosen once, when the simulator is first imported. Unless MUJOCO_GL says otherwise, a process that
    only steps physics gets none, so that it starts anywhere; the variable is removed again, so that a child process
    that renders can choose its own.
    """
    if rendering or "MUJOCO_GL" in os.environ:
        return importlib.import_module(module)
    os.environ["MUJOCO_GL"] = "disable"
    try:
        return importlib.import_module(module)
    finally:
        del os.environ["MUJOCO_GL"]


def prepare_pictures(model: Any, size: tuple[int, int]) -> None:
    """Make room for pictures of (width, height) pixels and switch off what is slow in software: shadows, reflections.

    `model` is a MuJoCo model or dm_control's view of one; the physics does not change.
    """
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0.0
    buffer = model.vis.global_
    buffer.offwidth = max(buffer.offwidth, size[0])
    buffer.offheight = max(buffer.offheight, size[1])
