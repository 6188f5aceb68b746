"""ACER's policy gradient in the statistics phi of the policy: truncated importance sampling with bias correction.

The correction is an expectation over fresh actions a' ~ pi, and there are two ways to estimate it from one of them: by
the score function (the paper; `truncated_policy_gradient`) or by the derivative along the path a' = mean + std * noise
(`correction_slope`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_rows, require_same_shape


def truncated_policy_gradient(
    phi_gradient_replayed: Tensor,
    phi_gradient_sampled: Tensor,
    log_rho: Tensor,
    log_rho_sampled: Tensor,
    advantage_replayed: Tensor,
    advantage_sampled: Tensor,
    truncation: float,
) -> Tensor:
    """Return g, the ascent direction in phi of each state.

    `g = min(c, rho) (Qopc - V) grad_phi log f(a) + [1 - c/rho']_+ (Q~(x, a') - V) grad_phi log f(a')`

    The first term bounds the variance by truncating the ratio of the replayed action a; the second restores what the
    truncation lost, at a fresh sample a' ~ pi. rho' is the ratio of a', so its weight is 0 wherever rho' <= c.
    With c = infinity only the first term is left, with the ratio as it was clamped; with c = 0 only the second.

    Args:
        phi_gradient_replayed: grad_phi log f(a) [T, B, P].
        phi_gradient_sampled: grad_phi log f(a') [T, B, P].
        log_rho: log pi(a)/mu(a) [T, B].
        log_rho_sampled: log pi(a')/mu(a') [T, B].
        advantage_replayed: Qopc - V [T, B].
        advantage_sampled: Q~(x, a') - V [T, B].
        truncation: c >= 0, possibly infinite.

    Returns:
        [T, B, P] directions of ascent, one row per state.

    Raises:
        ValueError: if the shapes do not fit or c is negative or NaN.

    Source: Wang et al. 2017, eq. 15 and 16, and Algorithm 3.
    """
    require_same_shape(
        log_rho=log_rho,
        log_rho_sampled=log_rho_sampled,
        advantage_replayed=advantage_replayed,
        advantage_sampled=advantage_sampled,
    )
    require_same_shape(phi_gradient_replayed=phi_gradient_replayed, phi_gradient_sampled=phi_gradient_sampled)
    require_rows(log_rho, phi_gradient_replayed, "log_rho", "phi_gradient_replayed")
    if not truncation >= 0.0:
        raise ValueError(f"expected truncation c >= 0, got {truncation}")
    with torch.no_grad():
        weight = torch.exp(log_rho).clamp(max=truncation) * advantage_replayed
        g = weight.unsqueeze(-1) * phi_gradient_replayed
        if math.isinf(truncation):
            return g
        correction = correction_weight(log_rho_sampled, truncation) * advantage_sampled
        return g + correction.unsqueeze(-1) * phi_gradient_sampled


def correction_weight(log_rho_sampled: Tensor, truncation: float) -> Tensor:
    """Return the weight of the bias correction, `[1 - c/rho']_+`, as `[1 - c exp(-log rho')]_+`.

    Args:
        log_rho_sampled: log pi(a')/mu(a'), clamped [T, B].
        truncation: c, finite and >= 0.

    Returns:
        [T, B] weights in [0, 1]; finite for every clamped log ratio.

    Source: Wang et al. 2017, eq. 15.

    >>> correction_weight(torch.tensor([[4.0, 20.0]]).log(), truncation=5.0)
    tensor([[0.0000, 0.7500]])
    """
    with torch.no_grad():
        return torch.relu(1.0 - truncation * torch.exp(-log_rho_sampled))


def correction_slope(
    action_gradient: Tensor,
    log_rho_gradient: Tensor,
    log_rho_sampled: Tensor,
    advantage_sampled: Tensor,
    truncation: float,
) -> Tensor:
    """Return the slope of the bias correction's integrand in the fresh action, product rule kept.

    With `h(a') = [1 - c/rho'(a')]_+ (Q~(x, a') - V)`, where phi is held fixed, the second term of eq. 15 is
    `E[h(a') grad_phi log f(a')] = grad_phi E[h(a')] = E[(d a'/d phi)^T grad_a' h]` for a' = mean + std * noise, and
    `grad_a' h = [1 - c/rho']_+ grad_a' Q~ + (Q~ - V) (c/rho') 1[rho' > c] grad_a' log rho'`.

    It has the expectation of the score function's estimate. At c = 0 it is grad_a' Q~ alone, SVG(0), and varies much
    less; at larger c the slope of the weight varies too, and either may. c is the dial between the returns of replayed
    actions and the critic's slope.

    Args:
        action_gradient: grad_a' Q~(x, a') in the pre-squash action [T, B, d].
        log_rho_gradient: grad_a' [log pi(a') - log mu(a')], likewise [T, B, d].
        log_rho_sampled: log pi(a')/mu(a'), clamped [T, B].
        advantage_sampled: Q~(x, a') - V [T, B].
        truncation: c, finite and >= 0.

    Returns:
        [T, B, d] slopes, constants.

    Raises:
        ValueError: if the shapes do not fit or c is negative, infinite or NaN.

    Source: the second term of Wang et al. 2017, eq. 15; its pathwise derivative as in Heess et al. 2015 (SVG).
    """
    require_same_shape(log_rho_sampled=log_rho_sampled, advantage_sampled=advantage_sampled)
    require_same_shape(action_gradient=action_gradient, log_rho_gradient=log_rho_gradient)
    require_rows(log_rho_sampled, action_gradient, "log_rho_sampled", "action_gradient")
    if not 0.0 <= truncation < math.inf:
        raise ValueError(f"expected a finite truncation c >= 0, got {truncation}")
    with torch.no_grad():
        weight = correction_weight(log_rho_sampled, truncation)
        of_weight = torch.where(weight > 0.0, advantage_sampled * (1.0 - weight), torch.zeros_like(weight))
        return weight.unsqueeze(-1) * action_gradient + of_weight.unsqueeze(-1) * log_rho_gradient
