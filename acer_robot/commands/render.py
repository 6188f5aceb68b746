"""`acer-render`: render a video of an exported policy from the file and its task alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.reporting.gl import probe_gl
from acer_robot.reporting.video import VideoOptions, check_video, render_policy
from acer_robot.schema import MISSING


@dataclass
class RenderConfig:
    """Options of `acer-render`."""

    policy: str = MISSING
    """An exported policy.pt."""
    out: str = "video.mp4"
    """The video file to write."""
    episodes: int = 1
    """Episodes to render, one after the other."""
    seed: int = 0
    """Seed of the first episode."""
    width: int = 480
    """Width in pixels."""
    height: int = 480
    """Height in pixels."""
    fps: int = 25
    """Frames per second of simulated time; the nearest rate that the control step allows is used."""
    max_seconds: float | None = None
    """Simulated seconds after which each episode stops; null: it runs to its end."""


def _render(config: RenderConfig) -> None:
    options = VideoOptions(
        config.episodes, config.seed, config.width, config.height, config.fps, config.max_seconds
    )
    check_video(Path(config.out), options)
    os.environ["MUJOCO_GL"] = probe_gl()
    video = render_policy(Path(config.policy), Path(config.out), options)
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
