"""The paper's baselines A3C and TIS: k-step returns, importance weights of whole segments, V alone for a critic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acer_robot import acer
from acer_robot.config import LearnerConfig
from acer_robot.estimates import Ascent, Phi, gaussian_entropy, log_ratios
from acer_robot.trajectory import Trajectory


def k_step_ascent(
    config: LearnerConfig,
    batch: Trajectory,
    phi: Phi,
    score: Tensor,
    online_v: Tensor,
    bootstrap: tuple[Tensor, Tensor],
    advantage_scale: Callable[[Tensor], Tensor],
) -> Ascent:
    """Return the actor-critic direction and the loss of V with k-step returns.

    `R_t = r_t + gamma_t R_{t+1}`, from V of the true successor where the segment or the episode ends;
    `w_t = min(c, prod_{i >= t} rho_i)` over the same steps (TIS), or 1 (A3C);
    `g = w (R - V) grad_phi log f(a)`, loss `w 1/2 (R - V)^2`

    Args:
        config: gives estimator, c and gamma.
        batch: segments [T, B].
        phi: statistics [T, B, d] each, constants.
        score: grad_phi log f(a) [T, B, P].
        online_v: V(x) of the K critics [K, T, B], with a graph.
        bootstrap: V(x) and V of the true successors [T, B] each, constants.
        advantage_scale: gives what advantages are divided by.

    Source: Mnih et al. 2016 (A3C); Wang et al. 2017, section 6 (TIS, its product of ratios truncated at 5).
    """
    v, next_v = bootstrap
    log_rho = log_ratios(batch.actions.unsqueeze(0), phi, batch)[0]
    weights = torch.ones_like(log_rho)
    if config.estimator == "tis":
        weights = acer.truncated_segment_weights(log_rho, batch.episode_continues, config.c)
    discounts = config.gamma * (~batch.terminated).to(batch.rewards.dtype)
    ones = torch.ones_like(weights)
    # With q = v the correction of the traces vanishes: what is left is the k-step return.
    returns = acer.off_policy_returns(batch.rewards, discounts, v, v, next_v, batch.episode_continues, ones)
    advantage = weights * (returns - v)
    g = (advantage / advantage_scale(advantage)).unsqueeze(-1) * score
    loss_v = 0.5 * (weights * (returns - online_v).square()).mean() * online_v.shape[0]
    nothing = torch.zeros_like(log_rho)
    return Ascent(g, nothing.sum(), loss_v, log_rho, nothing, weights, v, gaussian_entropy(phi[1]))
