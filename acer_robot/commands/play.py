"""`acer-play`: a policy live in MuJoCo's own viewer, or a task's robot in its first pose; needs a display."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig, check_range


@dataclass
class PlayConfig:
    """Options of `acer-play`."""

    policy: str | None = None
    """An exported policy.pt, a run folder, its export/, or one of its checkpoints (RUN/checkpoints/best.pt)."""
    run: str | None = None
    """A run folder, whose export/policy.pt is shown."""
    task: TaskConfig = field(default_factory=lambda: TaskConfig(suite="", id=""))
    """The task whose robot is shown in its first pose."""
    seed: int = 0
    """Seed of the first episode, and of the pushes."""
    rate: float = 1.0
    """Speed as a multiple of real time."""


def check_job(config: PlayConfig) -> None:
    """Raise InputError for an option that cannot be used."""
    check_range("seed", config.seed, 0, 2**31 - 1)
    check_range("rate", config.rate, 0.01, 100.0)
    if (config.policy is not None) + (config.run is not None) + bool(config.task.id) != 1:
        raise InputError(
            "give exactly one of policy=FILE (an exported policy.pt), run=DIR (a run folder) and task=NAME"
        )


def _play(config: PlayConfig) -> None:
    import numpy as np

    from acer_robot.deployment.pacing import Pacer
    from acer_robot.reporting.live import RestPolicy, run_live
    from acer_robot.reporting.shown import open_policy
    from acer_robot.tasks import make_task
    from acer_robot.tasks.cpu.viewer import LiveView, check_display, push

    check_job(config)
    path = config.policy or config.run
    if path is not None and not Path(path).exists():
        raise InputError(f"{path} does not exist; give a policy.pt that acer-export wrote, or a run folder")
    check_display()
    if path is not None:
        policy, task = open_policy(Path(path), config.seed, velocity=config.task.velocity)
    else:
        task = make_task(config.task, 1, config.seed)
        policy = RestPolicy(task)
    random = np.random.default_rng(config.seed)
    try:
        task.reset()
        view = LiveView(task)
        print("space: pause or go on; Enter: push; Backspace: reset; close the window to end", flush=True)
        pacer = Pacer(task.spec.control_dt / config.rate)
        try:
            run_live(policy, task, view, lambda: push(task, random), pacer, paused=path is None)
        finally:
            view.close()
    finally:
        task.close()


def main() -> None:
    """Run `acer-play`."""
    run_command("play", PlayConfig, _play)


if __name__ == "__main__":
    main()
