"""Values as distributions over bins: what logits are worth, what they are to be, and how far they are off."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_same_shape


def expected_value(logits: Tensor, centers: Tensor) -> Tensor:
    """Return the mean of a categorical distribution over the centres of bins.

    `E = sum_k p_k c_k`, p = softmax(l)

    Args:
        logits: l [.., bins].
        centers: c [bins].

    Returns:
        E [..]; differentiable.

    Raises:
        ValueError: if the number of bins differs.

    Source: Bellemare et al. 2017 (C51), section 4.
    """
    _require_bins(logits, centers)
    return (logits.softmax(-1) * centers).sum(-1)


def expected_value_gradient(logits: Tensor, centers: Tensor) -> Tensor:
    """Return the gradient of `expected_value` in the logits [.., bins], without a graph.

    `dE/dl_k = p_k (c_k - E)`

    Args:
        logits: l [.., bins].
        centers: c [bins].

    Raises:
        ValueError: if the number of bins differs.
    """
    _require_bins(logits, centers)
    probabilities = logits.detach().softmax(-1)
    mean = (probabilities * centers).sum(-1, keepdim=True)
    return probabilities * (centers - mean)


def gaussian_bins(values: Tensor, centers: Tensor, sigma: float) -> Tensor:
    """Return the share of a Gaussian about each value that falls into each bin (HL-Gauss).

    `p_k = [F(e_{k+1}) - F(e_k)] / [F(e_last) - F(e_first)]`, F the distribution function of N(value, sigma^2)

    The edges e lie half a bin beside the centres. A value beyond the first or last centre counts as that centre.
    Within some 3 sigma of the ends the Gaussian is cut off, so that the mean of p lies inside of the value: with
    sigma = 0.75 bins by 0.4 bins at the last centre, where a critic that fits its target exactly says so much less.

    Args:
        values: [..].
        centers: c [bins], at equal distances, rising.
        sigma: standard deviation of the Gaussian, in the values' unit.

    Returns:
        p [.., bins], which sum to 1; a constant.

    Raises:
        ValueError: if there are fewer than two bins or sigma is not positive.

    Source: Imani and White 2018; Farebrother et al. 2024, section 3.1.
    """
    if centers.dim() != 1 or len(centers) < 2 or not sigma > 0.0:
        raise ValueError(f"expected two bins or more and sigma > 0, got {tuple(centers.shape)} and {sigma}")
    half = 0.5 * (centers[1] - centers[0])
    edges = torch.cat([centers - half, centers[-1:] + half])
    inside = values.detach().clamp(centers[0], centers[-1]).unsqueeze(-1)
    below = torch.special.erf((edges - inside) / (sigma * 2.0**0.5))
    shares: Tensor = (below[..., 1:] - below[..., :-1]) / (below[..., -1:] - below[..., :1])
    return shares


def cross_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Return `-sum_k p_k log softmax(l)_k` [..] in nats, differentiable in the logits.

    Args:
        logits: l [.., bins].
        probabilities: p [.., bins], constants.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(logits=logits, probabilities=probabilities)
    return -(probabilities * logits.log_softmax(-1)).sum(-1)


def _require_bins(logits: Tensor, centers: Tensor) -> None:
    if centers.dim() != 1 or logits.shape[-1] != len(centers):
        raise ValueError(f"expected logits of {len(centers)} bins, got {tuple(logits.shape)}")
