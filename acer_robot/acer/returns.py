"""Importance ratios, traces, off-policy returns and the critic's targets. Everything here is a constant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_same_shape

MAX_LOG_RATIO = 20.0
"""Log ratios are clamped to +-20 nats: e^20 is far beyond every truncation, and float32 holds its square."""


def importance_log_ratio(log_prob: Tensor, behaviour_log_prob: Tensor) -> Tensor:
    """Return log rho, the log of the joint ratio of current over behaviour policy, clamped to +-`MAX_LOG_RATIO`.

    `log rho_t = log pi(a_t | x_t) - log mu(a_t | x_t)`, one scalar per state

    Args:
        log_prob: log pi(a | x), joint over the joints [T, B].
        behaviour_log_prob: log mu(a | x), likewise [T, B].

    Returns:
        [T, B] log ratios in nats.

    Raises:
        ValueError: if the shapes differ.

    Source: rho_t in Wang et al. 2017, section 3.
    """
    require_same_shape(log_prob=log_prob, behaviour_log_prob=behaviour_log_prob)
    with torch.no_grad():
        return (log_prob - behaviour_log_prob).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def trace_coefficients(
    log_rho: Tensor, action_dim: int, exponent: float | None = None, lambda_: float = 1.0
) -> Tensor:
    """Return the Retrace coefficients c_t, truncated at 1 per state.

    `c_t = lambda min(1, rho_t^exponent)`, exponent = 1/d unless given

    Args:
        log_rho: log importance ratios [T, B].
        action_dim: d, the number of joints.
        exponent: power of the ratio; None: 1/d, which undoes the shrinking of a product of d per-joint ratios.
        lambda_: trace decay in [0, 1].

    Returns:
        [T, B] traces in [0, lambda]. Of ratios clamped as in `importance_log_ratio` none is below
        lambda e^(-20 exponent): 0.04 with six joints and 0.3 with seventeen, however far the action is from the policy.

    Raises:
        ValueError: if action_dim is below 1.

    Source: Wang et al. 2017, section 5 and Algorithm 3 (exponent 1/d); Munos et al. 2016 (lambda).

    >>> trace_coefficients(torch.tensor([[0.0], [-2.0], [3.0]]), action_dim=2).flatten()
    tensor([1.0000, 0.3679, 1.0000])
    """
    if action_dim < 1:
        raise ValueError(f"expected action_dim >= 1, got {action_dim}")
    power = 1.0 / action_dim if exponent is None else exponent
    with torch.no_grad():
        return lambda_ * torch.exp((power * log_rho).clamp(max=0.0))


def off_policy_returns(
    rewards: Tensor,
    discounts: Tensor,
    q: Tensor,
    v: Tensor,
    next_v: Tensor,
    episode_continues: Tensor,
    traces: Tensor,
) -> Tensor:
    """Return the off-policy corrected returns, computed backward in time.

    `G_t = r_t + gamma_t [ c_{t+1} (G_{t+1} - Q~_{t+1}) + V_{t+1} ]` inside an episode, and
    `G_t = r_t + gamma_t V(true successor of t)` at its end, at a time limit and at t = T - 1.

    With traces `min(1, rho^(1/d))` this is Qret, with 1 it is Qopc, with 0 the one-step return.

    Args:
        rewards: r_t [T, B].
        discounts: gamma_t = gamma (1 - terminated_t) [T, B].
        q: Q~(x_t, a_t) [T, B].
        v: V(x_t) [T, B].
        next_v: V of the true successor of step t [T, B].
        episode_continues: bool [T, B], True where step t + 1 is the same episode's next step.
        traces: c_t [T, B].

    Returns:
        [T, B] returns, in units of reward.

    Raises:
        ValueError: if the shapes differ or the tensors are not [T, B].

    Source: Wang et al. 2017, eq. 5 (Qret) and eq. 21 with Algorithm 3 (Qopc); Munos et al. 2016.
    """
    require_same_shape(
        rewards=rewards,
        discounts=discounts,
        q=q,
        v=v,
        next_v=next_v,
        continues=episode_continues,
        traces=traces,
    )
    if rewards.dim() != 2:
        raise ValueError(f"expected tensors [T, B], got {tuple(rewards.shape)}")
    with torch.no_grad():
        # Where step t + 1 belongs to the same episode, V_{t+1} and the trace's correction are that step's own.
        inside = episode_continues[:-1]
        bootstrap = torch.where(inside, v[1:], next_v[:-1])
        carry = torch.where(inside, traces[1:], torch.zeros_like(traces[1:]))
        one_step = rewards[:-1] + discounts[:-1] * (bootstrap - carry * q[1:])
        gain = discounts[:-1] * carry
        returns = [rewards[-1] + discounts[-1] * next_v[-1]]
        for one_step_t, gain_t in zip(reversed(one_step.unbind()), reversed(gain.unbind()), strict=True):
            returns.append(torch.addcmul(one_step_t, gain_t, returns[-1]))
        return torch.stack(returns[::-1])


def truncated_segment_weights(log_rho: Tensor, episode_continues: Tensor, truncation: float) -> Tensor:
    """Return the importance weight of the rest of each state's segment, truncated; the weight of the TIS baseline.

    `w_t = min(c, rho_t rho_{t+1} .. rho_{T'})`, T' the last step of the segment, or of the episode if it ends before

    Args:
        log_rho: log importance ratios [T, B]; the product is of what they are after their clamp.
        episode_continues: bool [T, B], True where step t + 1 is the same episode's next step.
        truncation: c > 0.

    Returns:
        [T, B] weights in [0, c].

    Raises:
        ValueError: if the shapes differ, the tensors are not [T, B], or c is not positive.

    Source: Wang et al. 2017, section 6 (TIS); a product of k ratios where ACER has one ratio per state.

    >>> rho, continues = torch.tensor([[0.5], [0.5], [3.0]]), torch.ones(3, 1, dtype=torch.bool)
    >>> truncated_segment_weights(rho.log(), continues, truncation=1.0).flatten()
    tensor([0.7500, 1.0000, 1.0000])
    """
    require_same_shape(log_rho=log_rho, continues=episode_continues)
    if log_rho.dim() != 2:
        raise ValueError(f"expected tensors [T, B], got {tuple(log_rho.shape)}")
    if not truncation > 0.0:
        raise ValueError(f"expected truncation c > 0, got {truncation}")
    with torch.no_grad():
        sums = [log_rho[-1]]
        for log_rho_t, continues_t in zip(
            reversed(log_rho[:-1].unbind()), reversed(episode_continues[:-1].unbind()), strict=True
        ):
            sums.append(log_rho_t + continues_t.to(log_rho.dtype) * sums[-1])
        largest = min(math.log(truncation), MAX_LOG_RATIO)
        return torch.exp(torch.stack(sums[::-1]).clamp(max=largest))


def value_target(log_rho: Tensor, q_ret: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """Return the target of V, an importance-weighted estimate truncated at 1.

    `V_target = min(1, rho) (Qret - Q~) + V`

    Args:
        log_rho: log importance ratios [T, B].
        q_ret: Retrace returns [T, B].
        q: Q~(x_t, a_t) [T, B].
        v: V(x_t) [T, B].

    Returns:
        [T, B] targets, in units of reward.

    Raises:
        ValueError: if the shapes differ.

    Source: Wang et al. 2017, eq. 14.
    """
    require_same_shape(log_rho=log_rho, q_ret=q_ret, q=q, v=v)
    with torch.no_grad():
        return torch.exp(log_rho.clamp(max=0.0)) * (q_ret - q) + v
