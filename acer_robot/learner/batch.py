"""The [T, B] batch that the learner eats: field meanings and the rules for episode ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_rows, require_same_shape


@dataclass(frozen=True)
class Trajectory:
    """B segments of T consecutive steps each, time-major; n observation width, d action dimension.

    Step t of a segment is one transition: in `observations[t]` the behaviour policy mu drew `actions[t]`, which gave
    `rewards[t]` and led to `next_observations[t]`. A segment may run across the end of an episode; step t + 1 then
    holds the first step of the next one, and `episode_continues[t]` is False.
    """

    observations: Tensor
    """[T, B, n] raw (not normalised) observations x_t."""
    next_observations: Tensor
    """[T, B, n] the *true* successor of step t, never the observation after a reset; inside an episode it is
    `observations[t + 1]`, and the learner relies on that."""
    actions: Tensor
    """[T, B, d] the sample of mu *before* squashing or clipping, so that densities and ratios are exact."""
    rewards: Tensor
    """[T, B] sum over the action repeat."""
    terminated: Tensor
    """[T, B] bool: the successor is an end of the task, worth nothing from there on (discount 0)."""
    truncated: Tensor
    """[T, B] bool: the episode was cut off (a time limit); the successor's value counts in full."""
    behaviour_mean: Tensor
    """[T, B, d] mean of mu, pre-squash."""
    behaviour_log_std: Tensor
    """[T, B, d] log standard deviation of mu, pre-squash."""

    @property
    def episode_continues(self) -> Tensor:
        """[T, B] bool: True where step t + 1 of the segment is the same episode's next step (never at t = T - 1)."""
        continues = ~(self.terminated | self.truncated)
        inside = torch.arange(continues.shape[0], device=continues.device) < continues.shape[0] - 1
        return continues & inside.unsqueeze(1)


def check_shapes(batch: Trajectory) -> None:
    """Raise ValueError, naming tensors and shapes, unless all parts of a batch have the shapes that are said there.

    A part that is too small would be broadcast without a word.
    """
    require_same_shape(rewards=batch.rewards, terminated=batch.terminated, truncated=batch.truncated)
    require_same_shape(
        actions=batch.actions,
        behaviour_mean=batch.behaviour_mean,
        behaviour_log_std=batch.behaviour_log_std,
    )
    require_same_shape(observations=batch.observations, next_observations=batch.next_observations)
    for name in ("actions", "observations"):
        require_rows(batch.rewards, getattr(batch, name), "rewards", name)
