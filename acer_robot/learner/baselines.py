"""The paper's baselines A3C and TIS: k-step returns, importance weights of whole segments, V alone for a critic."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot import acer
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.gradients import Ascent, Networks, Phi, advantage_scale, log_ratios, phi_rows
from acer_robot.schema import LearnerConfig


def k_step_ascent(
    config: LearnerConfig,
    networks: Networks,
    batch: Trajectory,
    x: Tensor,
    next_x: Tensor,
    phi: Phi,
    _noise: Tensor,
    _temperature: Tensor | float,
    moment: Tensor,
) -> Ascent:
    """Return the actor-critic direction and the loss of V with k-step returns; an `AscentOf`.

    `R_t = r_t + gamma_t R_{t+1}`, from V of the true successor where the segment or the episode ends;
    `w_t = min(c, prod_{i >= t} rho_i)` over the same steps (TIS), or 1 (A3C);
    `g = w (R - V) grad_phi log f(a)`, loss `w 1/2 (R - V)^2`

    Args:
        config: gives estimator, c and gamma.
        networks: what is evaluated.
        batch: segments [T, B].
        x: normalised observations [T, B, n].
        next_x: normalised true successors [T, B, n].
        phi: statistics [T, B, d] each, constants.
        moment: [2] running moment of the advantage.

    Source: Mnih et al. 2016 (A3C); Wang et al. 2017, section 6 (TIS, its product of ratios truncated at 5).
    """
    with torch.no_grad():
        critic = networks.bootstrap_critic
        values = critic.value(critic.features(torch.stack([x, next_x])))
    v, next_v = (acer.combine(values[:, i], config.pessimism) for i in (0, 1))
    online_v = networks.critic.value(networks.critic.features(x))
    score = phi_rows(config, acer.gaussian_log_prob_gradient(batch.actions, *phi))
    log_rho = log_ratios(batch.actions.unsqueeze(0), phi, batch)[0]
    weights = torch.ones_like(log_rho)
    if config.estimator == "tis":
        weights = acer.truncated_segment_weights(log_rho, batch.episode_continues, config.c)
    discounts = config.gamma * (~batch.terminated).to(batch.rewards.dtype)
    ones = torch.ones_like(weights)
    # With q = v the correction of the traces vanishes: what is left is the k-step return.
    returns = acer.off_policy_returns(batch.rewards, discounts, v, v, next_v, batch.episode_continues, ones)
    advantage = weights * (returns - v)
    scale, moment = advantage_scale(config, advantage, moment)
    g = (advantage / scale).unsqueeze(-1) * score
    loss_v = 0.5 * (weights * (returns - online_v).square()).mean() * online_v.shape[0]
    nothing = torch.zeros_like(log_rho)
    entropy = acer.gaussian_entropy(phi[1])
    return Ascent(g, nothing.sum(), loss_v, log_rho, nothing, weights, v, entropy, moment, nothing)
