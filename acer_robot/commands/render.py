"""`acer-render`: render a film of a policy, a grid of its episodes, or policies side by side."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from acer_robot.commands.compose import run_command
from acer_robot.errors import InputError
from acer_robot.run_folder.policy_path import given_policy
from acer_robot.schema import ShownTask

if TYPE_CHECKING:
    from acer_robot.reporting.video import VideoOptions


@dataclass
class RenderConfig:
    """Options of `acer-render`."""

    policy: str | None = None
    """An exported policy.pt, a run folder, its export/, or one of its checkpoints (RUN/checkpoints/best.pt)."""
    run: str | None = None
    """A run folder, whose export/policy.pt is shown."""
    policies: list[str] = field(default_factory=list)
    """Two or more policies to show side by side, from the same seed: policies=[runs/a,runs/b]."""
    out: str = "video.mp4"
    """The file to write: an H.264 video (.mp4) or a gif (.gif)."""
    episodes: int = 1
    """Episodes to render, one after the other."""
    seed: int = 0
    """Seed of the first episode."""
    grid: list[int] = field(default_factory=lambda: [1, 1])
    """Rows and columns of episodes that are shown at once, with the seeds seed, seed+1, ..: grid=[2,2]."""
    camera: str = "tracking"
    """What draws: tracking (follows the robot), free (stands still), or a camera of the model by its name."""
    overlay: bool = False
    """Show return, time, speed, and the command of each joint between its bounds."""
    width: int = 480
    """Width in pixels of each picture."""
    height: int = 480
    """Height in pixels of each picture."""
    fps: int = 25
    """Frames per second of simulated time; the nearest rate that the control step allows is used."""
    max_seconds: float | None = None
    """Simulated seconds after which each episode stops; null: it runs to its end."""
    task: ShownTask = field(default_factory=ShownTask)
    """What is changed of the policy's task."""


def check_job(config: RenderConfig) -> None:
    """Raise InputError for an option that cannot be used."""
    if (config.policy is not None) + (config.run is not None) + bool(config.policies) != 1:
        raise InputError(
            "give exactly one of policy=FILE (an exported policy.pt), run=DIR (a run folder) and policies=[A,B]"
        )
    if len(config.policies) == 1:
        raise InputError("policies names one policy; give two or more, or policy=FILE")
    from acer_robot.reporting.video import check_video

    check_video(Path(config.out), video_options(config), len(config.policies) or 1)


def chosen_policies(config: RenderConfig) -> list[Path]:
    """Return the policies to show.

    Raises:
        InputError: if one does not exist, or a run has no exported policy.
    """
    if config.run is not None:
        return [given_policy(None, config.run)]
    return [given_policy(name, None) for name in config.policies or [str(config.policy)]]


def video_options(config: RenderConfig) -> VideoOptions:
    """Return what the film shows, and how."""
    from acer_robot.reporting.video import VideoOptions

    rows_columns = tuple(config.grid)
    return VideoOptions(
        episodes=config.episodes,
        seed=config.seed,
        width=config.width,
        height=config.height,
        fps=config.fps,
        max_seconds=config.max_seconds,
        camera=config.camera,
        overlay=config.overlay,
        velocity=None if config.task.velocity is None else tuple(config.task.velocity),
        grid=cast(tuple[int, int], rows_columns),
    )


def _render(config: RenderConfig) -> None:
    from acer_robot.reporting.gl import probe_gl
    from acer_robot.reporting.video import render_policies

    check_job(config)
    policies = chosen_policies(config)
    os.environ["MUJOCO_GL"] = probe_gl()
    video = render_policies(policies, Path(config.out), video_options(config))
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
