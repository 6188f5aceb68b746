"""Videos of policies, from the file and its task alone: one, a grid of episodes, or several side by side."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.reporting.gl import probe_gl, run_python
from acer_robot.run_folder.layout import check_folder
from acer_robot.schema import check_range

if TYPE_CHECKING:
    from acer_robot.reporting.shown import ActingPolicy
    from acer_robot.tasks import VectorTask


Picture = npt.NDArray[np.uint8]

SUFFIXES = (".mp4", ".gif")
LARGEST = 4096
"""Pixels of a side of the film."""
MOST_SIDES = 8
"""Rows and columns of a grid, and policies side by side."""
GIF_FPS = 50
"""Frames per second that browsers show of a gif; they slow down those that have more."""
GIF_COLOURS = (
    "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=bayer:bayer_scale=4"
)
"""ffmpeg's filter that gives each frame of a gif its own 256 colours."""

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
    camera: str = "tracking"
    """What draws: tracking, free, or a camera of the model."""
    overlay: bool = False
    """Whether return, time, speed and commands between their bounds are shown."""
    grid: tuple[int, int] = (1, 1)
    """Rows and columns of episodes that are shown at once, each with a seed of its own."""
    velocity: tuple[float, ...] | None = None
    """Velocity [vx, vy, yaw_rate] that a robot must follow; None: as in training."""


@dataclass(frozen=True)
class Video:
    """What was rendered."""

    frames: int
    fps: float
    """Frames per second. At this rate the video plays in real time."""
    returns: tuple[float, ...]
    """Sum of rewards of each episode, up to its last frame; one policy or cell of the grid after the other."""


def render_policy(policy: Path, out: Path, options: VideoOptions) -> Video:
    """Render episodes of one policy; see `render_policies`."""
    return render_policies([policy], out, options)


def render_policies(policies: Sequence[Path], out: Path, options: VideoOptions) -> Video:
    """Render episodes of policies side by side into an H.264 mp4 or a gif that plays in real time.

    A policy is an exported policy.pt, a run folder, its export/, or one of its checkpoints. All start with the same
    seed. One policy may fill a grid instead.

    MUJOCO_GL must be set before MuJoCo is imported. `acer-render` and `render_in_subprocess` do so.

    Raises:
        InputError: if an option, the file or its task cannot be used. No file is left at `out`.
    """
    # This import is late: the first import of MuJoCo fixes the GL backend.
    from acer_robot.reporting.shown import label, open_policy

    check_video(out, options, len(policies))
    rows, columns = (1, len(policies)) if len(policies) > 1 else options.grid
    size = (options.width, options.height)
    most_fps = GIF_FPS if out.suffix.lower() == ".gif" else math.inf
    with contextlib.ExitStack() as stack:
        rollouts = []
        for cell in range(rows * columns):
            path = policies[cell % len(policies)]
            seed = options.seed if len(policies) > 1 else options.seed + cell
            policy, task = open_policy(path, seed, size, options.camera, options.velocity)
            stack.callback(task.close)
            name = label(path) if len(policies) > 1 else ""
            rollouts.append(Rollout(policy, task, options, name, most_fps))
        check_same_rate(rollouts, policies)
        pictures = side_by_side([rollout.pictures() for rollout in rollouts], rows, columns)
        frames = write_video(out, pictures, rollouts[0].fps)
    returns = [value for rollout in rollouts for value in rollout.returns]
    return Video(frames, rollouts[0].fps, tuple(returns))


def check_same_rate(rollouts: Sequence[Rollout], policies: Sequence[Path]) -> None:
    """Raise InputError if policies side by side would not play at the same speed."""
    for rollout, path in zip(rollouts[1:], policies[1:], strict=False):
        if not math.isclose(rollout.fps, rollouts[0].fps):
            raise InputError(
                f"{policies[0]} is drawn at {rollouts[0].fps:.4g} frames/s and {path} at {rollout.fps:.4g}, as their "
                f"control steps differ; {_common_rate(rollouts[0].control_dt, rollout.control_dt)}"
            )


def _common_rate(one: float, other: float) -> str:
    """Return which fps draws tasks of two control periods [s] at one rate, as advice."""
    for fps in range(60, 0, -1):
        periods = [max(1, round(1.0 / (fps * dt))) * dt for dt in (one, other)]
        if math.isclose(*periods):
            return f"give an fps that both allow: fps={1.0 / periods[0]:.0f}"
    return "no fps from 1 to 60 suits both: render them one by one"


def side_by_side(films: Sequence[Iterator[Picture]], rows: int, columns: int) -> Iterator[Picture]:
    """Join films, row by row, into one; each keeps its last picture until the longest is over.

    Raises:
        InputError: if their pictures differ in size, as those of tasks that draw at a size of their own.
    """
    last: list[Picture] = []
    for pictures in itertools.zip_longest(*films):
        last = [old if new is None else new for old, new in zip(last or pictures, pictures, strict=True)]
        shapes = {picture.shape[:2] for picture in last}
        if len(shapes) > 1:
            sizes = " and ".join(f"{width} x {height}" for height, width in sorted(shapes))
            raise InputError(
                f"pictures of {sizes} pixels cannot be shown side by side; render them one by one"
            )
        lines = [np.concatenate(last[i * columns : (i + 1) * columns], axis=1) for i in range(rows)]
        yield np.concatenate(lines, axis=0)


class Rollout:
    """Episodes of a policy in environment 0. It draws only the pictures that the video keeps.

    It keeps one picture every `stride` commands, so that `fps = 1 / (stride * control_dt)` is close to the requested
    rate. At `fps` the video plays in real time.
    """

    def __init__(
        self,
        policy: ActingPolicy,
        task: VectorTask,
        options: VideoOptions,
        name: str = "",
        most_fps: float = math.inf,
    ) -> None:
        self._policy, self._task, self._episodes = policy, task, options.episodes
        self._overlay, self._name = options.overlay, name
        self._stride = max(1, round(1.0 / (options.fps * task.spec.control_dt)))
        self._stride = max(self._stride, math.ceil(1.0 / (most_fps * task.spec.control_dt) - 1e-9))
        self._max_commands = math.inf
        if options.max_seconds is not None:
            self._max_commands = max(1, round(options.max_seconds / task.spec.control_dt))
        self.control_dt = task.spec.control_dt
        self.fps = 1.0 / (self._stride * self.control_dt)
        self.returns: list[float] = []

    def pictures(self) -> Iterator[Picture]:
        """Run the episodes and yield their pictures [H, W, 3]; `returns` grows by one for each."""
        for _ in range(self._episodes):
            self._policy.reset()
            observations, done, commands = self._task.reset(), False, 0
            self.returns.append(0.0)
            self._place: npt.NDArray[np.float64] | None = None
            while not done and commands < self._max_commands:
                command = self._policy.act(observations)
                if commands % self._stride == 0:
                    yield self._picture(command, commands)
                result = self._task.step(command)
                self.returns[-1] += float(result.rewards[0])
                done = bool(result.terminated[0] or result.truncated[0])
                observations, commands = result.observations, commands + 1

    def _picture(self, command: Tensor, commands: int) -> Picture:
        """Draw environment 0 after so many commands of the episode; `command` is the next."""
        picture: Picture = self._task.render()
        if not (self._overlay or self._name):
            return picture
        from acer_robot.reporting.overlay import Moment, with_lines, with_overlay

        if not self._overlay:
            return with_lines(picture, [self._name])
        seconds = commands * self._task.spec.control_dt
        moment = Moment(self.returns[-1], seconds, self._speed(), command[0].numpy().astype(np.float64))
        return with_overlay(picture, self._task.spec.bounds, moment, self._name)

    def _speed(self) -> float | None:
        """Return the horizontal speed in m/s since the picture before: 0 in the first; None: the robot is fixed."""
        place = self._task.position()
        before, self._place = self._place, place
        if place is None or before is None:
            return None if place is None else 0.0
        return float(np.hypot(*(place - before)[:2])) * self.fps


def write_video(out: Path, pictures: Iterator[Picture], fps: float) -> int:
    """Encode pictures [H, W, 3] by the suffix of `out`; return their number.

    An mp4 has H.264 in yuv420p, which every browser plays. The file appears at `out` only when it is complete. We drop
    an odd last row or column, because the format needs even sizes.

    Raises:
        InputError: if `out` cannot be written.
    """
    unfinished = _unfinished(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"out={out} cannot be written: {error.strerror}; give another file") from error
    first = next(pictures)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    encoder = imageio_ffmpeg.write_frames(
        str(unfinished),
        (width, height),
        fps=fps,
        macro_block_size=2,
        ffmpeg_log_level="error",
        **_encoding(out),
    )
    encoder.send(None)
    frames = 0
    try:
        for picture in itertools.chain([first], pictures):
            encoder.send(np.ascontiguousarray(picture[:height, :width]))
            frames += 1
        encoder.close()
        _check_whole(unfinished, frames, out)
        unfinished.replace(out)
    finally:
        encoder.close()
        unfinished.unlink(missing_ok=True)
    return frames


def _check_whole(unfinished: Path, frames: int, out: Path) -> None:
    """Raise InputError unless the video has all its frames: ffmpeg does not say that it could not write the last."""
    import imageio_ffmpeg

    try:
        written, _ = imageio_ffmpeg.count_frames_and_secs(str(unfinished))
    except RuntimeError:  # it finds no video in the file
        written = 0
    if written != frames:
        raise InputError(
            f"out={out} is not written: {written} of {frames} frames can be read of it; is the disk full?"
        )


def _encoding(out: Path) -> dict[str, Any]:
    """Return what the encoder needs to know about the format."""
    if out.suffix.lower() == ".gif":
        return {"codec": "gif", "pix_fmt_out": "pal8", "output_params": ["-vf", GIF_COLOURS, "-loop", "0"]}
    return {"codec": "libx264", "pix_fmt_out": "yuv420p"}


def _unfinished(out: Path) -> Path:
    """Return where the video is while it is written."""
    return out.with_name(f".{out.name}.unfinished{out.suffix.lower()}")


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


def check_video(out: Path, options: VideoOptions, policies: int = 1) -> None:
    """Raise InputError for the first option that cannot be used; `policies` is how many are side by side."""
    is_gif = out.suffix.lower() == ".gif"
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"out={str(out)!r} is neither an mp4 file nor a gif; give a name that ends in .mp4 or .gif"
        )
    if out.is_dir():
        raise InputError(f"out={str(out)!r} is a folder; give the name of a file")
    check_folder("out", out.parent)
    check_range("episodes", options.episodes, 1, 10_000)
    check_range("fps", options.fps, 1, 1000)
    if is_gif and options.fps > GIF_FPS:
        raise InputError(
            f"fps={options.fps} is too fast for a gif: browsers show at most {GIF_FPS} frames/s; "
            f"give fps={GIF_FPS} or less, or an out that ends in .mp4"
        )
    check_range("seed", options.seed, 0, 2**31 - 1)
    if options.max_seconds is not None:
        check_range("max_seconds", options.max_seconds, 1e-3, 1e6)
    for name in ("width", "height"):
        check_range(name, getattr(options, name), 16, LARGEST)
    _check_grid(options, policies)


def _check_grid(options: VideoOptions, policies: int) -> None:
    if len(options.grid) != 2 or not all(1 <= side <= MOST_SIDES for side in options.grid):
        raise InputError(
            f"grid={list(options.grid)} is not two numbers from 1 to {MOST_SIDES}: give grid=[rows,columns], "
            f"as in grid=[2,2]"
        )
    if policies > MOST_SIDES:
        raise InputError(f"policies names {policies} policies; at most {MOST_SIDES} fit side by side")
    if policies > 1 and options.grid != (1, 1):
        raise InputError("grid and policies cannot be had together; leave one of them out")
    rows, columns = (1, policies) if policies > 1 else options.grid
    width, height = columns * options.width, rows * options.height
    if max(width, height) > LARGEST:
        raise InputError(
            f"the film would have {width} x {height} pixels; lower width, height or the number of pictures: "
            f"at most {LARGEST} x {LARGEST}"
        )
