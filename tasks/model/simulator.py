"""Loading MuJoCo without a display, building its models quietly, and preparing a model for pictures."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mujoco import MjModel

KNOWN_NOTE = "compiler attribute 'settotalmass' is deprecated"
"""What MuJoCo says about some models of Gymnasium and dm_control. A user cannot change these models."""


def load_simulator(module: str, rendering: bool) -> ModuleType:
    """Import `module` ("mujoco" or "dm_control.suite"), without OpenGL unless pictures are asked for.

    MuJoCo chooses the backend once, at its first import. A process that only steps physics needs none. Unless
    MUJOCO_GL is set, we import without one, so that the process starts on any machine. We then remove the variable,
    so that a child process that renders can choose its own backend.
    """
    if rendering or "MUJOCO_GL" in os.environ:
        return _imported(module)
    os.environ["MUJOCO_GL"] = "disable"
    try:
        return _imported(module)
    finally:
        del os.environ["MUJOCO_GL"]


def _imported(module: str) -> ModuleType:
    """Import a module that imports MuJoCo, and let MuJoCo's warnings about a simulation be ours to report."""
    imported = importlib.import_module(module)
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_say_once)
    return imported


def _say_once(warning: str) -> None:
    """Print a warning of MuJoCo once. Unstable simulations are counted and reported where they are stepped."""
    kind = warning.partition(" Time =")[0].rstrip("0123456789. ")
    if kind.startswith("Nan, Inf or huge value") or kind in _SAID:
        return
    _SAID.add(kind)
    print(f"MuJoCo: {' '.join(warning.split())}", file=sys.stderr)


_SAID: set[str] = set()


@contextmanager
def quiet_building() -> Iterator[None]:
    """Turn MuJoCo's warnings about a model into Python warnings, which are shown once.

    MuJoCo itself would repeat them for every environment and write MUJOCO_LOG.TXT into the current folder.
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
    """Prepare a model for pictures of (width, height) pixels. Shadows and reflections are off: they are slow.

    `model` is a MuJoCo model or dm_control's view of one; the physics does not change.
    """
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0.0
    buffer = model.vis.global_
    buffer.offwidth = max(buffer.offwidth, size[0])
    buffer.offheight = max(buffer.offheight, size[1])
