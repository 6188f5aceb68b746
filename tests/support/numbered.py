"""Steps that tell which they are, and a replay of them."""

from __future__ import annotations

import torch

from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory

CPU = torch.device("cpu")


def numbered_step(number, num_envs=3):
    """A step whose every field tells which step and which environment it is."""
    value = number + 0.25 * torch.arange(num_envs)

    def vector(offset, width):
        return (value + offset).unsqueeze(-1).expand(num_envs, width).clone()

    return Trajectory(
        observations=vector(0.0, 2),
        next_observations=vector(1.0, 2),
        actions=vector(2000.0, 1),
        rewards=value + 3000.0,
        terminated=torch.full((num_envs,), number % 5 == 0),
        truncated=torch.full((num_envs,), number % 7 == 0),
        behaviour_mean=vector(4000.0, 1),
        behaviour_log_std=vector(5000.0, 1),
    )


def filled(steps, transitions=30, segment_length=4, seed=0, **options):
    """A replay of three environments that got so many numbered steps."""
    replay = Replay(transitions, 3, 2, 1, segment_length, CPU, seed, **options)
    for number in range(steps):
        replay.add(numbered_step(number))
    return replay
