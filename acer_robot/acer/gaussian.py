"""Diagonal Gaussians in closed form: log density, KL divergence and their gradients in phi = (mean, log std).

The gradients are those with respect to the distribution's *statistics*, treated as free variables: the paper's
grad_phi. The network that produced the statistics plays no part here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_same_shape

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the joint log density of x under N(mean, diag(std^2)), summed over the joints.

    `log f(x) = sum_i [ -(x_i - m_i)^2 / (2 s_i^2) - log s_i - log(2 pi) / 2 ]`

    Args:
        x: samples [.., d].
        mean: means [.., d].
        log_std: log standard deviations [.., d].

    Returns:
        [..] log densities in nats; differentiable.

    Raises:
        ValueError: if the shapes differ.

    Source: the joint density in rho of Wang et al. 2017, section 5.

    >>> gaussian_log_prob(torch.zeros(2), torch.zeros(2), torch.zeros(2))
    tensor(-1.8379)
    """
    require_same_shape(x=x, mean=mean, log_std=log_std)
    standardised = (x - mean) * torch.exp(-log_std)
    return (-0.5 * standardised.square() - log_std - _HALF_LOG_2PI).sum(-1)


def gaussian_log_prob_gradient(x: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Return grad_phi log f(x), the score of a diagonal Gaussian.

    `d log f / d m_i = (x_i - m_i) / s_i^2` and `d log f / d log s_i = (x_i - m_i)^2 / s_i^2 - 1`

    Args:
        x: samples [.., d].
        mean: means [.., d].
        log_std: log standard deviations [.., d].

    Returns:
        Gradients with respect to mean and log_std, both [.., d]; constants.

    Raises:
        ValueError: if the shapes differ.

    Source: grad_phi log f(a | phi) in Wang et al. 2017, eq. 15 and 16.
    """
    require_same_shape(x=x, mean=mean, log_std=log_std)
    with torch.no_grad():
        inverse_std = torch.exp(-log_std)
        standardised = (x - mean) * inverse_std
        return standardised * inverse_std, standardised.square() - 1.0


def gaussian_kl(mean_p: Tensor, log_std_p: Tensor, mean_q: Tensor, log_std_q: Tensor) -> Tensor:
    """Return KL[p || q] of two diagonal Gaussians, summed over the joints.

    `KL = sum_i [ log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2 ]`

    Args:
        mean_p: means of p [.., d].
        log_std_p: log standard deviations of p [.., d].
        mean_q: means of q [.., d].
        log_std_q: log standard deviations of q [.., d].

    Returns:
        [..] divergences in nats, non-negative; differentiable.

    Raises:
        ValueError: if the shapes differ.

    Source: the constraint of Wang et al. 2017, eq. 11, with p the average and q the current policy.
    """
    require_same_shape(mean_p=mean_p, log_std_p=log_std_p, mean_q=mean_q, log_std_q=log_std_q)
    log_ratio = log_std_p - log_std_q
    distance = (mean_p - mean_q) * torch.exp(-log_std_q)
    # expm1 keeps the digits where the two are close: (r^2 - 1)/2 - log r with r = s_p / s_q.
    return (0.5 * torch.expm1(2.0 * log_ratio) - log_ratio + 0.5 * distance.square()).sum(-1)


def gaussian_kl_gradient(
    mean_avg: Tensor, log_std_avg: Tensor, mean: Tensor, log_std: Tensor
) -> tuple[Tensor, Tensor]:
    """Return k = grad_phi KL[average || current] with respect to the *current* statistics.

    `k_m = (m - m_avg) / s^2` and `k_logs = 1 - (s_avg^2 + (m - m_avg)^2) / s^2`

    Args:
        mean_avg: means of the average policy [.., d].
        log_std_avg: log standard deviations of the average policy [.., d].
        mean: means of the current policy [.., d].
        log_std: log standard deviations of the current policy [.., d].

    Returns:
        Gradients with respect to mean and log_std, both [.., d]; constants.

    Raises:
        ValueError: if the shapes differ.

    Source: k in Wang et al. 2017, eq. 11 and 12.
    """
    require_same_shape(mean_avg=mean_avg, log_std_avg=log_std_avg, mean=mean, log_std=log_std)
    with torch.no_grad():
        inverse_std = torch.exp(-log_std)
        distance = (mean - mean_avg) * inverse_std
        k_log_std = -torch.expm1(2.0 * (log_std_avg - log_std)) - distance.square()
        return distance * inverse_std, k_log_std
