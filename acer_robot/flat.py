"""All parameters of a module side by side in one tensor, so that optimiser and averages take one operation each."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FlatParameters:
    """The parameters of a module, moved into one tensor `values` of which they become views.

    An update of 64 transitions is a few milliseconds long; a loop over dozens of small tensors for Adam and for each
    running average would be a fifth of it. Flatten a module only after its last `.to(..)`, which would part the views.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = list(module.parameters())
        self.values = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        """[number of parameters]"""
        sizes = [p.numel() for p in self._parameters]
        parts: tuple[Tensor, ...] = self.values.split(sizes)  # type: ignore[no-untyped-call]
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def clear_gradients(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self._parameters:
            parameter.grad = None

    def gather_gradients(self) -> Tensor:
        """Put the gradients of all parameters side by side into `values.grad` and return it."""
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters]
        self.values.grad = torch.cat([gradient.reshape(-1) for gradient in gradients])
        return self.values.grad

    def average_towards(self, current: FlatParameters, alpha: float) -> None:
        """Move to `alpha values + (1 - alpha) current`."""
        self.values.lerp_(current.values, 1.0 - alpha)
