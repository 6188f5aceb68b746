"""All parameters of a module side by side in one tensor, so that optimiser and averages take one operation each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """The parameters of a module, moved into one tensor `values` of which they become views.

    An update of 64 transitions is a few milliseconds long; a loop over dozens of small tensors for Adam and for each
    running average would be a fifth of it. Flatten a module only after its last `.to(..)`, which would part the views.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())
        self.values = flatten([p.detach() for p in self.parameters])
        """[number of parameters]"""
        sizes = [p.numel() for p in self.parameters]
        parts: tuple[Tensor, ...] = self.values.split(sizes)  # type: ignore[no-untyped-call]
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def average_towards(self, current: FlatParameters, alpha: float) -> None:
        """Move to `alpha values + (1 - alpha) current`."""
        self.values.lerp_(current.values, 1.0 - alpha)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Return the elements of `tensors` side by side in one tensor of one axis."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
