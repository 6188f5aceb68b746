"""MuJoCo's OpenGL backends without a display: find one that draws here, and run programs with it."""

from __future__ import annotations

import os
import subprocess
import sys

from acer_robot.children import ending_with_parent
from acer_robot.errors import InputError

GL_PACKAGES = {"egl": "libegl1 libgl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""Debian and Ubuntu packages that each headless backend needs to draw in software."""

_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><light/><geom size="1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)  # it places the light; without it the frame is black everywhere
with mujoco.Renderer(model, 8, 8) as renderer:
    renderer.update_scene(data)
    if not renderer.render().any():
        raise SystemExit("the test frame is black")
"""


def probe_gl() -> str:
    """Return a MuJoCo GL backend that draws here: the one that MUJOCO_GL names, else the first of egl and osmesa.

    We try each in a separate process, because a broken driver may end the process.

    Raises:
        InputError: if none draws; the message names the packages to install.
    """
    asked = os.environ.get("MUJOCO_GL")
    reasons = []
    for backend in [asked] if asked else list(GL_PACKAGES):
        try:
            run_python(_PROBE, [], backend, timeout=120.0)
        except RuntimeError as error:
            reasons.append(f"{backend}: {error}")
        else:
            return backend
    remedy = install_command(asked or "egl")
    raise InputError(
        f"MuJoCo cannot draw here ({'; '.join(reasons)}); "
        f"{'unset MUJOCO_GL, or ' if asked else ''}on Debian or Ubuntu: {remedy}"
    )


def install_command(backend: str) -> str:
    """Return the shell command that installs a backend on Debian or Ubuntu; egl instead of one with a display."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = GL_PACKAGES.get(backend, GL_PACKAGES["egl"])
    return f"{sudo}apt-get update && {sudo}apt-get install -y {packages}"


def run_python(code: str, arguments: list[str], backend: str, timeout: float) -> None:
    """Run `code` with this GL backend in a new interpreter. The interpreter ends when this process does.

    Raises:
        RuntimeError: if it fails, with the last line of its stderr, or takes longer than `timeout` seconds.
    """
    command = [sys.executable, "-c", ending_with_parent(code), *arguments]
    environment = {**os.environ, "MUJOCO_GL": backend}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"gave up after {timeout:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise RuntimeError(lines[-1])
