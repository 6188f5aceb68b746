"""`acer-render`: a video of an exported policy, made as a controller would, from the file and its task."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from acer_robot.command import run_command
from acer_robot.config import RenderConfig, check_range
from acer_robot.errors import InputError

if TYPE_CHECKING:
    from acer_robot.policies.deployed import LoadedPolicy
    from acer_robot.tasks import VectorTask

GL_PACKAGES = {"egl": "libegl1 libgl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""Debian and Ubuntu packages with which each headless backend draws in software."""

Picture = npt.NDArray[np.uint8]

_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><light/><geom size="1"/></worldbody></mujoco>')
with mujoco.Renderer(model, 8, 8) as renderer:
    renderer.update_scene(mujoco.MjData(model))
    renderer.render()
"""

_CHILD = """
import sys
from acer_robot.config import RenderConfig
from acer_robot.errors import InputError
from acer_robot.render import render_policy
policy, out, seed, seconds = sys.argv[1:]
try:
    render_policy(RenderConfig(policy=policy, out=out, seed=int(seed), max_seconds=float(seconds)))
except InputError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Video:
    """What was rendered."""

    frames: int
    fps: float
    """Frames per second of simulated time: played at this rate, the video runs in real time."""
    returns: tuple[float, ...]
    """Sum of rewards of each episode, up to where it was shown."""


def probe_gl() -> str:
    """Return the first MuJoCo GL backend that draws here: the one MUJOCO_GL asks for, else egl, then osmesa.

    Each is tried in a process of its own, since a broken driver may end the process that tries it.

    Raises:
        InputError: if none draws, with the packages to install.
    """
    asked = os.environ.get("MUJOCO_GL")
    reasons = []
    for backend in [asked] if asked else list(GL_PACKAGES):
        try:
            _run_python(_PROBE, [], backend, timeout=120.0)
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
    """Return what to type on Debian or Ubuntu to install a backend (egl for one that needs a display)."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = GL_PACKAGES.get(backend, GL_PACKAGES["egl"])
    return f"{sudo}apt-get update && {sudo}apt-get install -y {packages}"


def render_policy(config: RenderConfig) -> Video:
    """Render episodes of an exported policy into an H.264 mp4 that plays in real time.

    MUJOCO_GL must have been set before MuJoCo was imported: `main` and `render_in_subprocess` see to that.

    Raises:
        InputError: if an option, the file or its task cannot be used; nothing is left at `config.out` then.
    """
    # Imported late: whatever imports MuJoCo fixes the GL backend.
    from acer_robot.policies.deployed import load_deployed
    from acer_robot.tasks import make_task

    _check(config)
    policy, out = load_deployed(Path(config.policy)), Path(config.out)
    size = (config.width, config.height)
    task = make_task(policy.task_config, 1, config.seed, size)
    try:
        rollout = Rollout(policy, task, config)
        frames = write_video(out, rollout.pictures(), rollout.fps)
    finally:
        task.close()
    return Video(frames, rollout.fps, tuple(rollout.returns))


class Rollout:
    """Episodes of a policy in environment 0, drawing only the pictures that the video keeps.

    One picture is kept every `stride` commands, so that `fps` comes closest to the rate asked for; with
    `fps = 1 / (stride * control_dt)` the video plays in real time.
    """

    def __init__(self, policy: LoadedPolicy, task: VectorTask, config: RenderConfig) -> None:
        self._policy, self._task, self._episodes = policy, task, config.episodes
        self._stride = max(1, round(1.0 / (config.fps * task.spec.control_dt)))
        self._max_commands = math.inf
        if config.max_seconds is not None:
            self._max_commands = max(1, round(config.max_seconds / task.spec.control_dt))
        self.fps = 1.0 / (self._stride * task.spec.control_dt)
        self.returns: list[float] = []

    def pictures(self) -> Iterator[Picture]:
        """Run the episodes and yield their pictures [H, W, 3]; `returns` grows by one for each."""
        for _ in range(self._episodes):
            self._policy.reset()
            observations, done, commands = self._task.reset(), False, 0
            self.returns.append(0.0)
            while not done and commands < self._max_commands:
                if commands % self._stride == 0:
                    yield self._task.render()
                result = self._task.step(self._policy.act(observations))
                self.returns[-1] += float(result.rewards[0])
                done = bool(result.terminated[0] or result.truncated[0])
                observations, commands = result.observations, commands + 1


def write_video(out: Path, pictures: Iterator[Picture], fps: float) -> int:
    """Encode pictures [H, W, 3] as H.264 in yuv420p, which every browser plays; return their number.

    The file appears at `out` when it is complete, and not at all if anything goes wrong. An odd last row or
    column is dropped: the format halves both.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.unfinished.mp4")
    first = next(pictures)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    encoder = imageio_ffmpeg.write_frames(
        str(unfinished), (width, height), fps=fps, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2
    )
    encoder.send(None)
    frames = 0
    try:
        for picture in itertools.chain([first], pictures):
            encoder.send(np.ascontiguousarray(picture[:height, :width]))
            frames += 1
        encoder.close()
        unfinished.replace(out)
    finally:
        encoder.close()
        unfinished.unlink(missing_ok=True)
    return frames


def render_in_subprocess(
    policy: Path, out: Path, seed: int = 0, max_seconds: float = 10.0, timeout: float = 300.0
) -> str | None:
    """Render one episode in a process of its own; return None, or in one line why there is no video.

    A process that trains has imported MuJoCo without a GL backend, and a driver that crashes must not end it.

    Args:
        policy: an exported policy.pt.
        out: the mp4 to write.
        seed: seed of the episode.
        max_seconds: simulated seconds to show.
        timeout: seconds of real time after which the attempt is given up.
    """
    try:
        backend = probe_gl()
        _run_python(_CHILD, [str(policy), str(out), str(seed), str(max_seconds)], backend, timeout)
    except (InputError, RuntimeError) as error:
        return str(error)
    return None


def _run_python(code: str, arguments: list[str], backend: str, timeout: float) -> None:
    """Run `code` in a new interpreter with this GL backend.

    Raises:
        RuntimeError: with the last line of its complaint, if it fails or takes longer than `timeout` seconds.
    """
    command = [sys.executable, "-c", code, *arguments]
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


def _check(config: RenderConfig) -> None:
    """Raise InputError for the first option that cannot be used."""
    if Path(config.out).suffix != ".mp4":
        raise InputError(f"out={config.out!r} is not an mp4 file; give a name that ends in .mp4")
    check_range("episodes", config.episodes, 1)
    check_range("fps", config.fps, 1)
    if config.max_seconds is not None and not config.max_seconds > 0.0:
        raise InputError(
            f"max_seconds={config.max_seconds!r} is out of range; expected a number above 0, or null"
        )
    for name in ("width", "height"):
        check_range(name, getattr(config, name), 16, 4096)


def _render(config: RenderConfig) -> None:
    _check(config)
    os.environ["MUJOCO_GL"] = probe_gl()
    video = render_policy(config)
    returns = ", ".join(f"{value:.1f}" for value in video.returns)
    seconds = video.frames / video.fps
    print(
        f"{config.out}: {video.frames} frames, {seconds:.1f} s at {video.fps:.4g} frames/s; return {returns}"
    )


def main() -> None:
    """Run `acer-render`."""
    run_command("render", RenderConfig, _render)


if __name__ == "__main__":
    main()
