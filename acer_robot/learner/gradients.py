"""The gradients of one update of Algorithm 3, as pure functions of networks, batch, noise and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acer_robot import acer
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.flat import flatten
from acer_robot.policies.actor import GaussianActor
from acer_robot.policies.critic import DuelingCritic
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.schema import LearnerConfig

MOMENT_DECAY = 0.99
"""Decay of the advantage's running mean square, per update."""

Phi = tuple[Tensor, Tensor]
"""The statistics of a diagonal Gaussian: mean and log std, each [.., d]."""


@dataclass(frozen=True)
class Networks:
    """What an update evaluates."""

    normalizer: ObservationNormalizer
    actor: GaussianActor
    average_actor: GaussianActor
    """theta_avg, the centre of the trust region."""
    critic: DuelingCritic
    bootstrap_critic: DuelingCritic
    """Gives the returns their values: the target critic, or the critic itself where there is none (the paper)."""


@dataclass(frozen=True)
class Entropy:
    """The entropy term: tensors on the device."""

    log_temperature: Tensor
    """Log of the weight of the entropy in g; a scalar with a gradient."""
    target: Tensor
    """Entropy in nats per joint that the temperature is tuned towards."""


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
    moment: Tensor
    """[2] the new running moment of the advantage; see `advantage_scale`."""


@dataclass(frozen=True)
class Diagnostics:
    """Tensors of one update, unreduced and still on the device; `acer_robot.learner.diagnostics` reduces them."""

    ascent: Ascent
    """g before the projection, and what it was made of."""
    z: Tensor
    """[T, B, P] after the projection."""
    phi: Phi
    """[T, B, d] each."""
    phi_average: Phi
    """[T, B, d] each."""


AscentOf = Callable[
    [LearnerConfig, Networks, Trajectory, Tensor, Tensor, Phi, Tensor, Tensor | float, Tensor], Ascent
]
"""An estimator: options, networks, batch, x, next x, phi, noise, temperature, moment -> `Ascent`."""


def update_gradients(
    config: LearnerConfig,
    ascent_of: AscentOf,
    networks: Networks,
    parameters: tuple[Sequence[Tensor], Sequence[Tensor]],
    entropy: Entropy,
    moment: Tensor,
    batch: Trajectory,
    noise: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Diagnostics]:
    """Return the flat gradients of actor and critics, the temperature's, and what they were made of.

    The policy moves along `(d phi / d theta)^T z`, with z the projection of g onto the trust region, state by state.
    Nothing in here is random and nothing is written, so that it compiles whole.

    Args:
        config: the learner's options.
        ascent_of: the estimator of g and of the critics' losses.
        networks: what is evaluated.
        parameters: the parameters of actor and critics.
        entropy: temperature and target.
        moment: [2] running moment of the advantage before this update.
        batch: segments [T, B].
        noise: [1 + n, T, B, d] standard normal, for a' and for u_1..u_n of eq. 13.

    Source: Wang et al. 2017, Algorithm 3, each of its lines for all states of all segments at once.
    """
    with torch.no_grad():
        x, next_x = networks.normalizer(torch.stack([batch.observations, batch.next_observations]))
        phi_average: Phi = networks.average_actor(x)
    mean, log_std = networks.actor(x)
    phi: Phi = (mean.detach(), log_std.detach())

    # g in phi per state, projected onto the trust region; only then are the states averaged.
    temperature = entropy.log_temperature.detach().exp() if config.entropy_target is not None else 0.0
    ascent = ascent_of(config, networks, batch, x, next_x, phi, noise, temperature, moment)
    g, k = ascent.g, phi_rows(config, acer.gaussian_kl_gradient(*phi_average, *phi))
    z = acer.trust_region_projection(g, k, config.delta) if config.trust_region else g
    # The gradient of -<phi, z> is -(d phi / d theta)^T z: descent moves phi along z.
    policy_loss = -(phi_rows(config, (mean, log_std)) * z).sum(-1).mean()
    loss = policy_loss + ascent.loss_q + ascent.loss_v
    loss = loss + temperature_loss(config, entropy, ascent.entropy, batch.actions.shape[-1])
    actor, critic = parameters
    inputs = [*actor, *critic, entropy.log_temperature]
    gradients = torch.autograd.grad(loss, inputs, materialize_grads=True)
    flat = [flatten(gradients[: len(actor)]), flatten(gradients[len(actor) : -1])]
    ascent = replace(ascent, loss_q=ascent.loss_q.detach(), loss_v=ascent.loss_v.detach())
    return flat[0], flat[1], gradients[-1], Diagnostics(ascent, z, phi, phi_average)


def acer_ascent(
    config: LearnerConfig,
    networks: Networks,
    batch: Trajectory,
    x: Tensor,
    next_x: Tensor,
    phi: Phi,
    noise: Tensor,
    temperature: Tensor | float,
    moment: Tensor,
) -> Ascent:
    """Return ACER's g and losses; an `AscentOf`.

    Args:
        config: the learner's options.
        networks: what is evaluated.
        batch: segments [T, B].
        x: normalised observations [T, B, n].
        next_x: normalised true successors [T, B, n].
        phi: statistics of pi [T, B, d] each, constants.
        noise: [1 + n, T, B, d] standard normal.
        temperature: weight of the entropy in g.
        moment: [2] running moment of the advantage.
    """
    # Fresh actions of the current policy: a' for the correction, u_1..u_n for the dueling network, all disjoint.
    fresh = phi[0] + phi[1].exp() * noise
    drawn = torch.cat([batch.actions.unsqueeze(0), fresh])
    actions = networks.actor.squash(drawn)
    log_rho, log_rho_sampled = log_ratios(drawn[:2], phi, batch)

    # Returns, backward in time.
    online = estimate(networks.critic, x, actions[:2], actions[2:])
    action_size = batch.actions.shape[-1]
    traces = acer.trace_coefficients(
        log_rho, action_size, config.trace_exponent / action_size, config.trace_lambda
    )
    q_ret, q_opc = returns(config, networks.bootstrap_critic, batch, next_x, actions, traces)

    # Policy.
    v, q_sampled = (acer.combine(part.detach(), config.pessimism) for part in (online.v, online.q[1]))
    scale, moment = advantage_scale(config, q_opc - v, moment)
    advantage, advantage_sampled = (q_opc - v) / scale, (q_sampled - v) / scale
    both = (part.expand_as(drawn[:2]) for part in phi)
    score, score_sampled = phi_rows(config, acer.gaussian_log_prob_gradient(drawn[:2], *both))
    by_score = advantage_sampled if config.correction == "score" else torch.zeros_like(v)
    g = acer.truncated_policy_gradient(
        score, score_sampled, log_rho, log_rho_sampled, advantage, by_score, config.c
    )
    along_path = torch.zeros_like(phi[0])
    if config.correction == "pathwise":
        slope = (
            action_gradient(networks.critic, online, 1, networks.actor, drawn[1], config.pessimism) / scale
        )
        log_rho_gradient = log_ratio_gradient(drawn[1], phi, batch)
        along_path = acer.correction_slope(
            slope, log_rho_gradient, log_rho_sampled, advantage_sampled, config.c
        )
    extra, entropy = pathwise_gradient(along_path, phi, noise[0], config.squash, temperature)

    # Critic: Q~ towards Qret, V towards its importance-weighted target.
    losses = critic_losses(online, q_ret, log_rho)
    return Ascent(g + phi_rows(config, extra), *losses, log_rho, log_rho_sampled, traces, v, entropy, moment)


@torch.no_grad()
def returns(
    config: LearnerConfig,
    critic: DuelingCritic,
    batch: Trajectory,
    next_x: Tensor,
    actions: Tensor,
    traces: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return Qret (eq. 5) and Qopc (traces 1) [T, B].

    `critic` is evaluated on next observations only: V and Q~ of row t + 1 count only where the episode continues, and
    there x_{t+1} is the successor of x_t.

    Args:
        config: gives gamma and the pessimism.
        critic: gives the values.
        batch: segments [T, B].
        next_x: normalised true successors [T, B, n].
        actions: canonical actions [2 + n, T, B, d]: the replayed one, a', u_1..u_n.
        traces: [T, B].
    """
    following = actions.roll(-1, dims=1)
    target = estimate(critic, next_x, following[:1], following[2:])
    next_q, next_v = acer.combine(target.q[0], config.pessimism), acer.combine(target.v, config.pessimism)
    discounts = config.gamma * (~batch.terminated).to(batch.rewards.dtype)
    values = (next_q.roll(1, dims=0), next_v.roll(1, dims=0), next_v)
    arguments = (batch.rewards, discounts, *values, batch.episode_continues)
    q_ret = acer.off_policy_returns(*arguments, traces)
    return q_ret, acer.off_policy_returns(*arguments, torch.ones_like(traces))


def critic_losses(online: Estimates, q_ret: Tensor, log_rho: Tensor) -> tuple[Tensor, Tensor]:
    """Return the losses 1/2 (Qret - Q~)^2 and 1/2 (V_target - V)^2, averaged over states, summed over critics."""
    members = online.v.shape[0]
    q_ret_each, q = q_ret.expand(members, *q_ret.shape), online.q[0]
    v_target = acer.value_target(log_rho.expand_as(q), q_ret_each, q.detach(), online.v.detach())
    loss_q = 0.5 * (q_ret_each - q).square().mean() * members
    loss_v = 0.5 * (v_target - online.v).square().mean() * members
    return loss_q, loss_v


@torch.no_grad()
def advantage_scale(config: LearnerConfig, advantage: Tensor, moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return the running root mean square of the advantage, which frees delta of the reward's scale, and the moment.

    Args:
        config: says whether advantages are scaled; if not, the scale is 1.
        advantage: [T, B].
        moment: [2] running mean of the square, and of 1, which corrects the bias of the start at zero.
    """
    if not config.advantage_scaling:
        return torch.ones_like(moment[0]), moment.clone()
    seen = torch.stack([advantage.square().mean(), torch.ones_like(moment[0])])
    moment = moment.lerp(seen, 1.0 - MOMENT_DECAY)
    return (moment[0] / moment[1]).sqrt().clamp_min(1e-6), moment


def temperature_loss(config: LearnerConfig, entropy: Entropy, seen: Tensor, action_size: int) -> Tensor:
    """Return the loss that raises the temperature while the entropy `seen` [T, B] lies below its target."""
    if config.entropy_target is None:
        return torch.zeros_like(entropy.target)
    return entropy.log_temperature * (seen.mean() - entropy.target * action_size)


def phi_rows(config: LearnerConfig, phi_like: Phi) -> Tensor:
    """Join the parts for mean and log std to one row per state [.., P]; a fixed std is no part of phi."""
    return torch.cat(phi_like, dim=-1) if config.learned_std else phi_like[0]


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
    q = acer.stochastic_dueling_q(v_each, of_actions, of_samples.unsqueeze(1).expand(-1, count, *v.shape))
    return Estimates(state_part, v, q)


def log_ratios(actions: Tensor, phi: Phi, batch: Trajectory) -> Tensor:
    """Return log rho [M, T, B] of M pre-squash actions per state, `actions` [M, T, B, d], under phi and mu."""
    pi = acer.gaussian_log_prob(actions, *(part.expand_as(actions) for part in phi))
    behaviour = (batch.behaviour_mean.expand_as(actions), batch.behaviour_log_std.expand_as(actions))
    return acer.importance_log_ratio(pi, acer.gaussian_log_prob(actions, *behaviour))


def log_ratio_gradient(actions: Tensor, phi: Phi, batch: Trajectory) -> Tensor:
    """Return grad_u [log pi(u) - log mu(u)] at pre-squash actions u [T, B, d]."""
    # A Gaussian's log density depends on u - mean: its slope in u is minus that in the mean.
    of_pi, _ = acer.gaussian_log_prob_gradient(actions, *phi)
    of_mu, _ = acer.gaussian_log_prob_gradient(actions, batch.behaviour_mean, batch.behaviour_log_std)
    return of_mu - of_pi


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
    in_action = (acer.combine_gradient(estimates.q[index], pessimism).unsqueeze(-1) * slopes).sum(0)
    return in_action * acer.squash_slopes(u, actor.squash_kind)[0]


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
    in_u = slope + entropy_weight * acer.squash_slopes(u, squash)[1]
    entropy = acer.gaussian_entropy(log_std) + acer.log_squash_slope(u, squash)
    return (in_u, in_u * std * noise + entropy_weight), entropy
