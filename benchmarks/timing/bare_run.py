"""A run of acer-train that writes nothing: no evaluation, no logs, no checkpoints."""

from __future__ import annotations

import tempfile

import torch

from acer_robot.schema import CheckpointConfig, LearnerConfig, TaskConfig, TrainConfig, WandbConfig
from acer_robot.training.parts import Run
from acer_robot.training.run import prepare


def bare_run(
    task: TaskConfig, learner: LearnerConfig, device: torch.device, num_envs: int, threads: int
) -> Run:
    """Return a run that has not begun, for `run.collector.step()` and `run.update()` to be called in turn."""
    return prepare(
        TrainConfig(
            task=task,
            learner=learner,
            wandb=WandbConfig(mode="disabled"),
            checkpoint=CheckpointConfig(replay=False),
            steps=10**9,
            device=str(device),
            run_dir=tempfile.mkdtemp() + "/run",
            num_envs=num_envs,
            threads=threads,
            eval_episodes=1,
        )
    )
