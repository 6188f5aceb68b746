"""A video of an exported policy, from the file and its task alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.reporting.gl import probe_gl, run_python
from acer_robot.schema import check_range
from acer_robot.spec import check_same_robot

if TYPE_CHECKING:
    from acer_robot.policies.exported.file import LoadedPolicy
    from acer_robot.tasks import VectorTask


Picture = npt.NDArray[np.uint8]

_CHILD = """
import sys
from pathlib import Path
from acer_robot.errors import InputError
from acer_robot.reporting.video import VideoOptions, render_policy
policy, out, seed, seconds = sys.argv[1:]
try:
    render_policy(Path(policy), Path(out), VideoOptions(seed=int(seed), max_seconds=float(seconds)))
except InputError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class VideoOptions:
    """Which episodes a video shows, and how."""

    episodes: int = 1
    """Episodes, one after the other."""
    seed: int = 0
    """Seed of the first episode."""
    width: int = 480
    """Width in pixels."""
    height: int = 480
    """Height in pixels."""
    fps: int = 25
    """Frames per second of simulated time; the nearest rate that the control step allows is used."""
    max_seconds: float | None = None
    """Simulated seconds after which each episode stops; None: it runs to its end."""


@dataclass(frozen=True)
class Video:
    """What was rendered."""

    frames: int
    fps: float
    """Frames per second. At this rate the video plays in real time."""
    returns: tuple[float, ...]
    """Sum of rewards of each episode, up to its last frame."""


def render_policy(policy: Path, out: Path, options: VideoOptions) -> Video:
    """Render episodes of an exported policy into an H.264 mp4 that plays in real time.

    MUJOCO_GL must be set before MuJoCo is imported. `acer-render` and `render_in_subprocess` do so.

    Raises:
        InputError: if an option, the file or its task cannot be used. No file is left at `out`.
    """
    # These imports are late: the first import of MuJoCo fixes the GL backend.
    from acer_robot.policies.exported.file import load_deployed
    from acer_robot.tasks import make_task

    check_video(out, options)
    loaded = load_deployed(policy)
    task = make_task(loaded.task_config, 1, options.seed, (options.width, options.height))
    try:
        check_same_robot(loaded.spec, task.spec)
        rollout = Rollout(loaded, task, options)
        frames = write_video(out, rollout.pictures(), rollout.fps)
    finally:
        task.close()
    return Video(frames, rollout.fps, tuple(rollout.returns))


class Rollout:
    """Episodes of a policy in environment 0. It draws only the pictures that the video keeps.

    It keeps one picture every `stride` commands, so that `fps = 1 / (stride * control_dt)` is close to the requested
    rate. At `fps` the video plays in real time.
    """

    def __init__(self, policy: LoadedPolicy, task: VectorTask, options: VideoOptions) -> None:
        self._policy, self._task, self._episodes = policy, task, options.episodes
        self._stride = max(1, round(1.0 / (options.fps * task.spec.control_dt)))
        self._max_commands = math.inf
        if options.max_seconds is not None:
            self._max_commands = max(1, round(options.max_seconds / task.spec.control_dt))
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

    The file appears at `out` only when it is complete. We drop an odd last row or column, because the format needs
    even sizes.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(out)
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


def _unfinished(out: Path) -> Path:
    """Return where the video is while it is written."""
    return out.with_name(f".{out.name}.unfinished.mp4")


def render_in_subprocess(
    policy: Path, out: Path, seed: int = 0, max_seconds: float = 10.0, timeout: float = 300.0
) -> str | None:
    """Render one episode in a separate process. Return None, or one line that says why there is no video.

    A training process has imported MuJoCo without a GL backend, and a driver that crashes must not end it.

    Args:
        policy: an exported policy.pt.
        out: the mp4 to write.
        seed: seed of the episode.
        max_seconds: simulated seconds to show.
        timeout: seconds of real time after which rendering is stopped.
    """
    try:
        backend = probe_gl()
        run_python(_CHILD, [str(policy), str(out), str(seed), str(max_seconds)], backend, timeout)
    except (InputError, RuntimeError) as error:
        return str(error)
    finally:
        _unfinished(out).unlink(missing_ok=True)  # a child that was killed leaves it
    return None


def check_video(out: Path, options: VideoOptions) -> None:
    """Raise InputError for the first option that cannot be used."""
    if out.suffix != ".mp4":
        raise InputError(f"out={str(out)!r} is not an mp4 file; give a name that ends in .mp4")
    check_range("episodes", options.episodes, 1, 10_000)
    check_range("fps", options.fps, 1, 1000)
    check_range("seed", options.seed, 0, 2**31 - 1)
    if options.max_seconds is not None:
        check_range("max_seconds", options.max_seconds, 1e-3, 1e6)
    for name in ("width", "height"):
        check_range(name, getattr(options, name), 16, 4096)
