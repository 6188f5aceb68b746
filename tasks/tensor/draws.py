"""Random starts of episodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(count: int, size: int, scale: float, generator: torch.Generator) -> Tensor:
    """Return [count, size] numbers between -scale and scale."""
    drawn = torch.rand(count, size, generator=generator, device=generator.device, dtype=torch.float64)
    return scale * (2.0 * drawn - 1.0)


def normal(count: int, size: int, scale: float, generator: torch.Generator) -> Tensor:
    """Return [count, size] numbers of a normal distribution with the standard deviation `scale`."""
    drawn = torch.randn(count, size, generator=generator, device=generator.device, dtype=torch.float64)
    return scale * drawn


def on_device(values: Sequence[float], generator: torch.Generator) -> Tensor:
    """Return numbers as a tensor beside what `generator` draws."""
    return torch.as_tensor(values, dtype=torch.float64).to(generator.device)
