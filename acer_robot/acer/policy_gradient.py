"""ACER's policy gradient in the statistics phi of the policy: truncated importance sampling with bias correction."""

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
    With c = infinity only the first term is left, with c = 0 only the second.

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
        # 1 - c/rho' as 1 - c exp(-log rho'): finite for every clamped log ratio.
        correction = torch.relu(1.0 - truncation * torch.exp(-log_rho_sampled)) * advantage_sampled
        return g + correction.unsqueeze(-1) * phi_gradient_sampled
