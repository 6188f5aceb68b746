"""Random batches and small learners that several tests share."""

from __future__ import annotations

import dataclasses

import torch

from acer_robot.config import LearnerConfig
from acer_robot.learner import Learner
from acer_robot.trajectory import Trajectory

SMALL = {"hidden": [16, 16], "advantage_hidden": 8}


def small_learner(device="cpu", observation_size=3, action_size=2, dtype=torch.float32, **options):
    config = LearnerConfig(**{**SMALL, **options})
    return Learner(config, observation_size, action_size, torch.device(device), seed=1, dtype=dtype)


def random_batch(
    steps=5, segments=4, observation_size=3, action_size=2, dtype=torch.float32, seed=0, ends=0.2
):
    """A batch of segments with terminals and time limits inside, and mu close to, but not equal to, pi."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    mean = 0.3 * normal(steps, segments, action_size)
    log_std = -0.5 + 0.1 * normal(steps, segments, action_size)
    kind = torch.rand(steps, segments, generator=generator)
    return Trajectory(
        observations=normal(steps, segments, observation_size),
        next_observations=normal(steps, segments, observation_size),
        actions=mean + log_std.exp() * normal(steps, segments, action_size),
        rewards=normal(steps, segments),
        terminated=kind < ends,
        truncated=(kind >= ends) & (kind < 2 * ends),
        behaviour_mean=mean,
        behaviour_log_std=log_std,
    )


def moved_to(batch: Trajectory, device: str) -> Trajectory:
    return Trajectory(**{f.name: getattr(batch, f.name).to(device) for f in dataclasses.fields(batch)})
