"""Squashed Gaussians: the entropy of a Gaussian and the slopes of the squash (tanh or clip)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Return the entropy [..] in nats of a diagonal Gaussian with `log_std` [.., d]."""
    return (log_std + 0.5 * math.log(2.0 * math.pi * math.e)).sum(-1)


def log_squash_slope(actions: Tensor, squash: str) -> Tensor:
    """Return log |d squash(u) / d u| [..], summed over the joints of pre-squash actions [.., d]; 0 for "clip".

    `log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u))`, which does not overflow.
    """
    if squash != "tanh":
        return actions.new_zeros(actions.shape[:-1])
    return (2.0 * (math.log(2.0) - actions - functional.softplus(-2.0 * actions))).sum(-1)


def squash_slopes(actions: Tensor, squash: str) -> tuple[Tensor, Tensor]:
    """Return `d squash(u) / d u` and `d log |d squash(u) / d u| / d u`, each like `actions`, joint by joint.

    For tanh they are `1 - tanh(u)^2` and `-2 tanh(u)`; for "clip" 1 inside the bounds, 0 beyond, and 0.
    """
    if squash != "tanh":
        return (actions.abs() <= 1.0).to(actions.dtype), torch.zeros_like(actions)
    squashed = torch.tanh(actions)
    return 1.0 - squashed.square(), -2.0 * squashed
