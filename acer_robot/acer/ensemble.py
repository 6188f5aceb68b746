"""Several critics combined into one value: their mean less a multiple of their spread."""

from __future__ import annotations

import torch
from torch import Tensor


def combine(values: Tensor, pessimism: float) -> Tensor:
    """Combine K critics [K, ..] into one value [..]: `mean - pessimism * (max - min) / 2`.

    With two critics, pessimism 1 is their minimum (Fujimoto et al. 2018) and 0 their mean.
    """
    if values.shape[0] == 1:
        return values[0]
    low, high = values.amin(0), values.amax(0)
    return values.mean(0) - pessimism * 0.5 * (high - low)


def combine_gradient(values: Tensor, pessimism: float) -> Tensor:
    """Return `d combine / d values` [K, ..]: how much each critic counts; they sum to 1.

    Critics that share the highest or lowest value share its weight evenly.
    """
    if values.shape[0] == 1:
        return torch.ones_like(values)
    low, high = values.amin(0, keepdim=True), values.amax(0, keepdim=True)
    highest, lowest = ((values == end).to(values.dtype) for end in (high, low))
    spread = highest / highest.sum(0, keepdim=True) - lowest / lowest.sum(0, keepdim=True)
    return 1.0 / values.shape[0] - pessimism * 0.5 * spread
