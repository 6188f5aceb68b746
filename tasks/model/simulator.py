"""Loading MuJoCo without a display, building its models quietly, and preparing a model for pictures."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mujoco import MjModel

KNOWN_NOTE = "compiler attribute 'settotalmass' is deprecated"
"""What MuJoCo says about models that come with Gymnasium and dm_control, which nobody here can mend."""


def load_simulator(module: str, rendering: bool) -> ModuleType:
    """Import `module` ("mujoco" or "dm_control.suite"), without OpenGL unless pictures are asked for.

    The backend is chosen once, when the simulator is first imported. Unless MUJOCO_GL says otherwise, a
    process that only steps physics gets none, so that it starts on any machine; the variable is removed
    again, so that a child process that renders can choose its own.
    """
    if rendering or "MUJOCO_GL" in os.environ:
        return importlib.import_module(module)
    os.environ["MUJOCO_GL"] = "disable"
    try:
        return importlib.import_module(module)
    finally:
        del os.environ["MUJOCO_GL"]


@contextmanager
def quiet_building() -> Iterator[None]:
    """Turn what MuJoCo warns of while models are built into Python warnings, each shown once.

    By itself MuJoCo repeats them for every environment and writes MUJOCO_LOG.TXT into the current folder.
    """
    import mujoco

    notes: list[str] = []
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(notes.append)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(handler)
    for note in notes:
        if not note.startswith(KNOWN_NOTE):
            warnings.warn(f"MuJoCo: {note}", RuntimeWarning, stacklevel=3)


def prepare_pictures(model: MjModel, size: tuple[int, int]) -> None:
    """Make room for pictures of (width, height) pixels, without shadows and reflections: slow in software.

    `model` is a MuJoCo model or dm_control's view of one; the physics does not change.
    """
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0.0
    buffer = model.vis.global_
    buffer.offwidth = max(buffer.offwidth, size[0])
    buffer.offheight = max(buffer.offheight, size[1])
