"""Running observation statistics. They are part of the policy, so an exported policy includes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

OUTLIER, SMALLEST, MOST = 1e3, 100.0, 1e15
"""An outlier is this many standard deviations from the mean, and at least this far. No value counts as more than the
last number, whose square float32 can hold."""
EXPECTED = 100
"""Observations from which on the statistics tell what is an outlier."""


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
    def update(self, observations: Tensor) -> Tensor:
        """Merge a batch [B, n] into the statistics (parallel variance of Chan, Golub and LeVeque 1979).

        An outlier counts as the nearest value that is none, so that a single one spoils nothing for good. Where large
        values are usual, they widen the statistics within a few batches and are no outliers any more.

        Returns:
            [B, n] bool: which values are outliers.
        """
        if not self.enabled:
            return torch.zeros_like(observations, dtype=torch.bool)
        given, limit = observations, self._limit()
        observations = given.clamp(self.mean - limit, self.mean + limit).clamp(-MOST, MOST)
        outliers = observations != given
        batch_mean = observations.mean(0)
        batch_variance = observations.var(0, correction=0)
        batch_count = float(observations.shape[0])
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
        return outliers

    def _limit(self) -> Tensor:
        """Return how far from the mean [n] a value may be. Nothing is known of an entry that never changed."""
        known = (self.variance > 0.0) & (self.count >= EXPECTED)
        limit = (OUTLIER * self.variance.sqrt()).clamp_min(SMALLEST)
        return torch.where(known, limit, torch.full_like(limit, torch.inf))
