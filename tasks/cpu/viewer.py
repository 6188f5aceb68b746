"""MuJoCo's own viewer on environment 0 of a task, where there is a display."""

from __future__ import annotations

import os
import queue
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from acer_robot.errors import InputError
from acer_robot.tasks.interface import VectorTask
from acer_robot.tasks.model.floor import EndlessFloor
from acer_robot.tasks.model.moving_body import moving_body
from acer_robot.tasks.model.simulator import load_simulator

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

KEYS = {32: "pause", 257: "push", 259: "reset"}
"""GLFW's numbers of space, Enter and Backspace, which the viewer itself does not use while it only shows."""
PUSH = 1.0
"""Speed in m/s that a push gives to the whole robot, or to one link of a fixed one."""


def check_display() -> None:
    """Raise InputError, with what to do, unless a window can be opened here."""
    load_simulator("mujoco", rendering=False)
    remedy = "start it on a computer with a screen, or render a film instead: acer-render"
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise InputError(f"there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set; {remedy}")
    import glfw

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        window = None
        if glfw.init():
            # The viewer's thread would wait for ever for a window that cannot be opened.
            glfw.window_hint(glfw.VISIBLE, False)
            window = glfw.create_window(16, 16, "acer-play", None, None)
            if window:
                glfw.destroy_window(window)
            glfw.terminate()
    if not window:
        reason = " ".join(str(notes[-1].message).split()) if notes else "GLFW gives no reason"
        raise InputError(f"no window can be opened ({reason}); {remedy}")


class LiveView:
    """A window that shows environment 0 and collects the keys that were pressed in it."""

    def __init__(self, task: VectorTask) -> None:
        """Open the window; `check_display` says before whether it can be had.

        Raises:
            InputError: if the task has no MuJoCo simulation, or on macOS without mjpython.
        """
        import mujoco.viewer

        self._keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._model, data = required_simulation(task)
        self._floor = EndlessFloor(self._model)
        before = set(threading.enumerate())
        try:
            with self._floor.drawn():
                self._handle: Any = mujoco.viewer.launch_passive(
                    self._model, data, key_callback=self._note, show_left_ui=False, show_right_ui=False
                )
        except RuntimeError as error:
            raise InputError(
                f"MuJoCo's viewer does not start: {error}; on macOS: mjpython -m acer_robot.commands.play .."
            ) from error
        self._threads = set(threading.enumerate()) - before
        self._follow()

    def is_open(self) -> bool:
        """Whether the window is still there."""
        return bool(self._handle.is_running())

    def show(self) -> None:
        """Show the present state."""
        with self._floor.drawn():
            self._handle.sync()

    def pressed(self) -> list[str]:
        """Return what was asked for since the last call: pause, push, reset."""
        found = []
        while not self._keys.empty():
            found.append(self._keys.get())
        return found

    def close(self) -> None:
        """Close the window, and wait for the threads that draw it: GLFW must not end before them."""
        self._handle.close()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _note(self, key: int) -> None:
        if key in KEYS:
            self._keys.put(KEYS[key])

    def _follow(self) -> None:
        """Let the camera follow a robot that can move away."""
        import mujoco

        body = moving_body(self._model)
        if body is not None:
            with self._handle.lock():
                self._handle.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
                self._handle.cam.trackbodyid = body


def required_simulation(task: VectorTask) -> tuple[MjModel, MjData]:
    """Return model and state of environment 0.

    Raises:
        InputError: if it has none.
    """
    simulation = task.simulation()
    if simulation is None:
        raise InputError(f"{task.spec.id} has no MuJoCo simulation; acer-play shows MuJoCo tasks alone")
    return simulation


def push(task: VectorTask, random: np.random.Generator) -> None:
    """Give the robot of environment 0 a horizontal impulse in a random direction, at once.

    A robot that can move gets an impulse of its mass times PUSH at its trunk. A fixed one gets it at a random link.
    """
    import mujoco

    model, data = required_simulation(task)
    body = moving_body(model)
    mass = model.body_subtreemass[body] if body is not None else 0.0
    if body is None:
        links = np.unique(model.jnt_bodyid)
        body = int(random.choice(links))
        mass = model.body_mass[body]
    angle = random.uniform(0.0, 2.0 * np.pi)
    impulse = PUSH * mass * np.array([np.cos(angle), np.sin(angle), 0.0])
    joints, change = np.zeros(model.nv), np.zeros((1, model.nv))
    mujoco.mj_applyFT(model, data, impulse, np.zeros(3), data.xipos[body], body, joints)
    mujoco.mj_solveM(model, data, change, joints[None])
    task.add_velocity(change[0])
