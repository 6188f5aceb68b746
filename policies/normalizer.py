"""Running observation statistics. They are part of the policy, so an exported policy includes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def moments(observations: Tensor) -> tuple[float, Tensor, Tensor]:
    """Return count, mean [n] and variance [n] of observations [B, n]; count * variance is the M2 of Chan et al."""
    return float(observations.shape[0]), observations.mean(0), observations.var(0, correction=0)


class ObservationNormalizer(nn.Module):
    """Standardise observations with running statistics: `clip((x - mean) / sqrt(variance + eps), -limit, limit)`.

    With `enabled=False` it returns observations unchanged and never updates its statistics.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int, enabled: bool = True, limit: float = 10.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.enabled, self.limit, self.eps = enabled, limit, eps
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, observations: Tensor) -> Tensor:
        """Map raw observations [.., n] to standardised ones [.., n]."""
        if not self.enabled:
            return observations
        standardised = (observations - self.mean) * torch.rsqrt(self.variance + self.eps)
        return standardised.clamp(-self.limit, self.limit)

    @torch.no_grad()
    def update(self, observations: Tensor) -> None:
        """Merge a batch [B, n] into the statistics (parallel variance of Chan, Golub and LeVeque 1979)."""
        self.merge(*moments(observations))

    @torch.no_grad()
    def merge(self, batch_count: float, batch_mean: Tensor, batch_variance: Tensor) -> None:
        """Merge the statistics [n] of other observations, as `moments` gives them, into these."""
        if not self.enabled:
            return
        total = self.count + batch_count
        delta = batch_mean - self.mean
        weight = batch_count / total
        self.variance.copy_(
            self.variance * (self.count / total)
            + batch_variance * weight
            + delta.square() * weight * (self.count / total)
        )
        self.mean.add_(delta * weight)
        self.count.copy_(total)
