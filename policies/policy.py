"""The policy: observation statistics and actor in one module. acer-export turns it into an exported policy."""

from __future__ import annotations

from torch import Tensor, nn

from acer_robot.policies.actor import GaussianActor
from acer_robot.policies.normalizer import ObservationNormalizer


class Policy(nn.Module):
    """Maps raw observations to pre-squash statistics or to canonical actions."""

    def __init__(self, normalizer: ObservationNormalizer, actor: GaussianActor) -> None:
        super().__init__()
        self.normalizer, self.actor = normalizer, actor

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log std of the pre-squash Gaussian, both [.., d], for raw observations [.., n]."""
        mean, log_std = self.actor(self.normalizer(observations))
        return mean, log_std

    def act(self, observations: Tensor) -> Tensor:
        """Return the deterministic canonical action [.., d] in [-1, 1] for raw observations [.., n]."""
        mean, _ = self(observations)
        return self.actor.squash(mean)
