"""The discounted return of every environment's present episode, and the statistics of it."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.learner.batch import Trajectory
from acer_robot.policies.normalizer import ObservationNormalizer


class DiscountedReturns:
    """Follows `G <- gamma G + r`, from 0 at the start of an episode, and gives each G to running statistics.

    Source: Engstrom et al. 2020, who describe how PPO's code scales rewards.
    """

    def __init__(self, statistics: ObservationNormalizer, gamma: float, num_envs: int) -> None:
        self._statistics, self._gamma = statistics, gamma
        self._returns = torch.zeros(num_envs, device=statistics.mean.device, dtype=statistics.mean.dtype)

    def add(self, rewards: Tensor, ended: Tensor) -> None:
        """Count a step of every environment: rewards [B], and where the episode ended with it [B]."""
        self._returns = self._gamma * self._returns + rewards.to(self._returns.dtype)
        self._statistics.update(self._returns.unsqueeze(1))
        self._returns.masked_fill_(ended, 0.0)

    def add_rows(self, rows: Trajectory) -> None:
        """Count consecutive steps [T, B, ..] of every environment."""
        for rewards, ended in zip(rows.rewards, rows.terminated | rows.truncated, strict=True):
            self.add(rewards, ended)

    def state(self) -> Tensor:
        """Return a copy of the returns so far."""
        return self._returns.cpu().clone()

    def restore(self, state: Tensor) -> None:
        """Go on from `state`."""
        self._returns = state.to(self._returns.device)


def followed(
    statistics: ObservationNormalizer | None, gamma: float, num_envs: int
) -> DiscountedReturns | None:
    """Return what follows the discounted returns of `num_envs` environments that begin now; None without statistics."""
    return None if statistics is None else DiscountedReturns(statistics, gamma, num_envs)
