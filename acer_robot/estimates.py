"""From networks to the quantities of Algorithm 3: Q~ and V of the critics, and the pathwise gradient in phi."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from acer_robot.acer import (
    gaussian_log_prob,
    gaussian_log_prob_gradient,
    importance_log_ratio,
    stochastic_dueling_q,
)
from acer_robot.policies.actor import GaussianActor
from acer_robot.policies.critic import DuelingCritic
from acer_robot.trajectory import Trajectory

Phi = tuple[Tensor, Tensor]
"""The statistics of a diagonal Gaussian: mean and log std, each [.., d]."""


@dataclass(frozen=True)
class Estimates:
    """What K critics say of the states x [..] and of M actions in each."""

    state_part: Tensor
    """s(x) [K, .., width], which the advantages of all actions share; see `DuelingCritic`."""
    v: Tensor
    """V(x) [K, ..]."""
    q: Tensor
    """Q~(x, a) of the M actions [M, K, ..]."""


@dataclass(frozen=True)
class Ascent:
    """What one batch asks for: the direction g in phi of each state, the critics' losses, and how they came about."""

    g: Tensor
    """[T, B, P], a constant, before the projection."""
    loss_q: Tensor
    """Scalar with a graph; 0 where there is no Q."""
    loss_v: Tensor
    """Scalar with a graph."""
    log_rho: Tensor
    """[T, B]"""
    log_rho_sampled: Tensor
    """[T, B] of a' ~ pi; 0 where none is drawn."""
    traces: Tensor
    """[T, B]; the weights of states where the estimator has no traces."""
    v: Tensor
    """[T, B]"""
    entropy: Tensor
    """[T, B] of the squashed action, in nats; of the Gaussian itself where there is no Q."""


@dataclass(frozen=True)
class Diagnostics:
    """Tensors of one update, unreduced and still on the device; `acer_robot.diagnostics` reduces them."""

    ascent: Ascent
    """g before the projection, and what it was made of."""
    z: Tensor
    """[T, B, P] after the projection."""
    phi: Phi
    """[T, B, d] each."""
    phi_average: Phi
    """[T, B, d] each."""


def estimate(critic: DuelingCritic, x: Tensor, actions: Tensor, sampled_actions: Tensor) -> Estimates:
    """Evaluate V(x) and, for every action, the stochastic dueling Q~(x, a).

    Args:
        critic: K critics.
        x: normalised observations [.., n].
        actions: canonical actions in question [M, .., d].
        sampled_actions: canonical samples of the current policy [n, .., d]; with n = 0, Q~ = V + A.
    """
    features = critic.features(x)
    v, state_part = critic.value(features), critic.state_part(features)
    advantages = critic.advantage(state_part, torch.cat([actions, sampled_actions]))
    count, samples = actions.shape[0], sampled_actions.shape[0]
    of_actions, of_samples = advantages[:count], advantages[count:]
    v_each = v.expand_as(of_actions)
    if samples == 0:
        return Estimates(state_part, v, v_each + of_actions)
    q = stochastic_dueling_q(v_each, of_actions, of_samples.unsqueeze(1).expand(-1, count, *v.shape))
    return Estimates(state_part, v, q)


def log_ratios(actions: Tensor, phi: Phi, batch: Trajectory) -> Tensor:
    """Return log rho [M, T, B] of M pre-squash actions per state, `actions` [M, T, B, d], under phi and mu."""
    pi = gaussian_log_prob(actions, *(part.expand_as(actions) for part in phi))
    behaviour = (batch.behaviour_mean.expand_as(actions), batch.behaviour_log_std.expand_as(actions))
    return importance_log_ratio(pi, gaussian_log_prob(actions, *behaviour))


def log_ratio_gradient(actions: Tensor, phi: Phi, batch: Trajectory) -> Tensor:
    """Return grad_u [log pi(u) - log mu(u)] at pre-squash actions u [T, B, d]."""
    # A Gaussian's log density depends on u - mean: its slope in u is minus that in the mean.
    of_pi, _ = gaussian_log_prob_gradient(actions, *phi)
    of_mu, _ = gaussian_log_prob_gradient(actions, batch.behaviour_mean, batch.behaviour_log_std)
    return of_mu - of_pi


def combine(values: Tensor, pessimism: float) -> Tensor:
    """Combine K critics [K, ..] into one value [..]: `mean - pessimism * (max - min) / 2`.

    With two critics, pessimism 1 is their minimum (Fujimoto et al. 2018) and 0 their mean.
    """
    if values.shape[0] == 1:
        return values[0]
    low, high = values.amin(0), values.amax(0)
    return values.mean(0) - pessimism * 0.5 * (high - low)


def combine_gradient(values: Tensor, pessimism: float) -> Tensor:
    """Return `d combine / d values` [K, ..]: how much each critic counts; they sum to 1."""
    if values.shape[0] == 1:
        return torch.ones_like(values)
    low, high = values.amin(0, keepdim=True), values.amax(0, keepdim=True)
    share = torch.full_like(values, 1.0 / values.shape[0])
    return share - pessimism * 0.5 * ((values == high).to(values.dtype) - (values == low).to(values.dtype))


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


@torch.no_grad()
def action_gradient(
    critic: DuelingCritic, estimates: Estimates, index: int, actor: GaussianActor, u: Tensor, pessimism: float
) -> Tensor:
    """Return the gradient of the combined Q~(x, squash(u)) in the pre-squash action u [.., d], without a graph.

    Args:
        critic: the critics that `estimates` came from.
        estimates: their estimates, of which action `index` is squash(u).
        index: see above.
        actor: gives the squash.
        u: one pre-squash action per state.
        pessimism: how the critics are combined.
    """
    # Only A depends on u; the rest of Q~ is a constant, which decides which critic is the pessimistic one.
    slopes = critic.advantage_gradient(estimates.state_part, actor.squash(u))
    in_action = (combine_gradient(estimates.q[index], pessimism).unsqueeze(-1) * slopes).sum(0)
    return in_action * squash_slopes(u, actor.squash_kind)[0]


@torch.no_grad()
def pathwise_gradient(
    slope: Tensor, phi: Phi, noise: Tensor, squash: str, entropy_weight: Tensor | float
) -> tuple[Phi, Tensor]:
    """Return the gradient in phi of `J(u) + w_H H`, at u = mean + std * noise, and H itself.

    `grad_mean = s` and `grad_logstd = s * std * noise` for a slope s = dJ/du. H is the entropy of the squashed action:
    the Gaussian's own in closed form plus the log slope of the squash at u.

    Args:
        slope: dJ/du [.., d].
        phi: statistics [.., d] each, constants.
        noise: standard normal [.., d].
        squash: kind of squash.
        entropy_weight: w_H.

    Returns:
        Gradients [.., d] in mean and log std, and the entropy [..] in nats.

    Source: the reparameterised gradient of Heess et al. 2015 (SVG(0)) and Haarnoja et al. 2018; not in ACER.
    """
    mean, log_std = phi
    std = log_std.exp()
    u = mean + std * noise
    in_u = slope + entropy_weight * squash_slopes(u, squash)[1]
    entropy = gaussian_entropy(log_std) + log_squash_slope(u, squash)
    return (in_u, in_u * std * noise + entropy_weight), entropy
