"""The hidden layers that actor and critic share: Linear, optional LayerNorm, ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def trunk(width_in: int, hidden: Sequence[int], layer_norm: bool) -> nn.Sequential:
    """Return Linear -> [LayerNorm] -> ReLU for each width in `hidden`."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(width_in, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.ReLU())
        width_in = width
    return nn.Sequential(*layers)
