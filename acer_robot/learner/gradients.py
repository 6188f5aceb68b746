"""The gradients of one update of Algorithm 3, as pure functions of networks, batch, noise and options."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acer_robot import acer
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.flat import flatten
from acer_robot.policies.actor import GaussianActor
from acer_robot.policies.critic import DuelingCritic
from acer_robot.policies.embedding import StateActionEmbedding
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
    embedding: StateActionEmbedding | None = None
    """f and g as they are being learnt; None: there is no embedding, and the next two are None as well."""
    critic_embedding: StateActionEmbedding | None = None
    """The copy of f and g that the critic reads, a constant."""
    bootstrap_embedding: StateActionEmbedding | None = None
    """The copy that the bootstrap critic reads."""


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
    inputs: Tensor
    """What the advantage heads read of the M actions [M, .., d]; with an embedding [a, e] [M, .., d + size]."""
    embedding_part: Tensor | None
    """What z adds to g's first layer [.., hidden]; None without an embedding."""


@dataclass(frozen=True)
class Prediction:
    """What f and g, as they are being learnt, say of a batch of transitions."""

    z: Tensor
    """f(x) [T, B, size]."""
    next_z: Tensor
    """f(x') of the true successors [T, B, size], a constant."""
    e: Tensor
    """g(f(x), a) [T, B, size], which is to be near f(x')."""


@dataclass(frozen=True)
class Gradients:
    """The gradients of one update, each in one flat tensor as `FlatParameters` has the values."""

    actor: Tensor
    critic: Tensor
    embedding: Tensor | None
    """None: there is no embedding."""
    temperature: Tensor
    """Scalar."""


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
    error: Tensor
    """[T, B] |Qret - Q~(x, a)|, the largest of the critics', a constant; 0 where there is no Q."""


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
    prediction: Prediction | None = None
    """None: there is no embedding."""


AscentOf = Callable[
    [LearnerConfig, Networks, Trajectory, Tensor, Tensor, Phi, Tensor, Tensor | float, Tensor], Ascent
]
"""An estimator: options, networks, batch, x, next x, phi, noise, temperature, moment -> `Ascent`."""


def update_gradients(
    config: LearnerConfig,
    ascent_of: AscentOf,
    networks: Networks,
    parameters: tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]],
    entropy: Entropy,
    moment: Tensor,
    batch: Trajectory,
    noise: Tensor,
) -> tuple[Gradients, Diagnostics]:
    """Return the gradients of all that is learnt, and what they were made of.

    The policy moves along `(d phi / d theta)^T z`, with z the projection of g onto the trust region, state by state.
    Nothing in here is random and nothing is written, so that it compiles whole.

    Args:
        config: the learner's options.
        ascent_of: the estimator of g and of the critics' losses.
        networks: what is evaluated.
        parameters: the parameters of actor, critics and embedding; of the last none, if there is no embedding.
        entropy: temperature and target.
        moment: [2] running moment of the advantage before this update.
        batch: segments [T, B].
        noise: [1 + n, T, B, d] standard normal, for a' and for u_1..u_n of eq. 13. With `smoothness` its last axis is
            longer by the width of an observation; the first row of that part draws the observation nearby.

    Source: Wang et al. 2017, Algorithm 3, each of its lines for all states of all segments at once.
    """
    with torch.no_grad():
        x, next_x = networks.normalizer(torch.stack([batch.observations, batch.next_observations]))
        phi_average: Phi = networks.average_actor(x)
    mean, log_std = networks.actor(x)
    phi: Phi = (mean.detach(), log_std.detach())
    nearby, noise = noise[..., mean.shape[-1] :], noise[..., : mean.shape[-1]]

    # g in phi per state, projected onto the trust region; only then are the states averaged.
    temperature = entropy.log_temperature.detach().exp() if config.entropy_target is not None else 0.0
    ascent = ascent_of(config, networks, batch, x, next_x, phi, noise, temperature, moment)
    g, k = ascent.g, phi_rows(config, acer.gaussian_kl_gradient(*phi_average, *phi))
    z = acer.trust_region_projection(g, k, config.delta) if config.trust_region else g
    # The gradient of -<phi, z> is -(d phi / d theta)^T z: descent moves phi along z.
    policy_loss = -(phi_rows(config, (mean, log_std)) * z).sum(-1).mean()
    loss = policy_loss + ascent.loss_q + ascent.loss_v
    loss = loss + temperature_loss(config, entropy, ascent.entropy, batch.actions.shape[-1])
    if config.smoothness > 0.0:
        loss = loss + config.smoothness * roughness(config, networks.actor, x, next_x, mean, nearby[0])
    prediction = None
    if networks.embedding is not None:
        # f and g share no parameter with the rest, and the critics read constant copies: the losses just add up.
        prediction = predict(networks.embedding, x, next_x, networks.actor.squash(batch.actions))
        loss = loss + embedding_loss(prediction)
        prediction = Prediction(prediction.z.detach(), prediction.next_z, prediction.e.detach())
    inputs = [*itertools.chain(*parameters), entropy.log_temperature]
    gradients = torch.autograd.grad(loss, inputs, materialize_grads=True)
    ends = list(itertools.accumulate(map(len, parameters)))
    actor, critic = flatten(gradients[: ends[0]]), flatten(gradients[ends[0] : ends[1]])
    embedding = flatten(gradients[ends[1] : ends[2]]) if prediction is not None else None
    ascent = replace(ascent, loss_q=ascent.loss_q.detach(), loss_v=ascent.loss_v.detach())
    seen = Diagnostics(ascent, z, phi, phi_average, prediction)
    return Gradients(actor, critic, embedding, gradients[-1]), seen


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
    online = estimate(networks.critic, x, actions[:2], actions[2:], networks.critic_embedding)
    d = batch.actions.shape[-1]
    traces = acer.trace_coefficients(log_rho, d, config.trace_exponent / d, config.trace_lambda)
    q_ret, q_opc = returns(config, networks, batch, next_x, actions, traces)

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
        slope = action_gradient(networks, online, 1, drawn[1], config.pessimism) / scale
        log_rho_gradient = log_ratio_gradient(drawn[1], phi, batch)
        along_path = acer.correction_slope(
            slope, log_rho_gradient, log_rho_sampled, advantage_sampled, config.c
        )
    extra, entropy = pathwise_gradient(along_path, phi, noise[0], config.squash, temperature)

    # Critic: Q~ towards Qret, V towards its importance-weighted target.
    losses = critic_losses(networks.critic, online, q_ret, log_rho)
    error = (q_ret - online.q[0].detach()).abs().amax(0)
    ratios = (log_rho, log_rho_sampled)
    return Ascent(g + phi_rows(config, extra), *losses, *ratios, traces, v, entropy, moment, error)


@torch.no_grad()
def returns(
    config: LearnerConfig,
    networks: Networks,
    batch: Trajectory,
    next_x: Tensor,
    actions: Tensor,
    traces: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return Qret (eq. 5) and Qopc (traces 1) [T, B].

    The bootstrap critic is evaluated on next observations only: V and Q~ of row t + 1 count only where the episode
    continues, and there x_{t+1} is the successor of x_t.

    With two critics and pessimism, Q~ and V are each the smaller of two. Over actions the smaller Q~ averages to less
    than the smaller V, so `Qret - Q~` has a positive mean even on policy, and long traces undo some of the pessimism.

    Args:
        config: gives gamma and the pessimism.
        networks: its bootstrap critic gives the values.
        batch: segments [T, B].
        next_x: normalised true successors [T, B, n].
        actions: canonical actions [2 + n, T, B, d]: the replayed one, a', u_1..u_n.
        traces: [T, B].
    """
    following = actions.roll(-1, dims=1)
    critic, embedding = networks.bootstrap_critic, networks.bootstrap_embedding
    target = estimate(critic, next_x, following[:1], following[2:], embedding)
    next_q, next_v = acer.combine(target.q[0], config.pessimism), acer.combine(target.v, config.pessimism)
    discounts = config.gamma * (~batch.terminated).to(batch.rewards.dtype)
    values = (next_q.roll(1, dims=0), next_v.roll(1, dims=0), next_v)
    arguments = (batch.rewards, discounts, *values, batch.episode_continues)
    q_ret = acer.off_policy_returns(*arguments, traces)
    return q_ret, acer.off_policy_returns(*arguments, torch.ones_like(traces))


def critic_losses(
    critic: DuelingCritic, online: Estimates, q_ret: Tensor, log_rho: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the losses of Q~ towards Qret and of V towards V_target, averaged over states, summed over critics.

    They are 1/2 (Qret - Q~)^2 and 1/2 (V_target - V)^2, or Huber's losses: see the critic's `error`.
    """
    members = online.v.shape[0]
    q_ret_each, q = q_ret.expand(members, *q_ret.shape), online.q[0]
    v_target = acer.value_target(log_rho.expand_as(q), q_ret_each, q.detach(), online.v.detach())
    loss_q = critic.error(q, q_ret_each).mean() * members
    loss_v = critic.error(online.v, v_target).mean() * members
    return loss_q, loss_v


@torch.no_grad()
def advantage_scale(config: LearnerConfig, advantage: Tensor, moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return the running root mean square of the advantage, which frees delta of the reward's scale, and the moment.

    Args:
        config: says whether advantages are scaled; if not, the scale is 1, and the moment is only logged.
        advantage: [T, B].
        moment: [2] running mean of the square, and of 1, which corrects the bias of the start at zero.
    """
    seen = torch.stack([advantage.square().mean(), torch.ones_like(moment[0])])
    moment = moment.lerp(seen, 1.0 - MOMENT_DECAY)
    if not config.advantage_scaling:
        return torch.ones_like(moment[0]), moment
    return (moment[0] / moment[1]).sqrt().clamp_min(1e-6), moment


def temperature_loss(config: LearnerConfig, entropy: Entropy, seen: Tensor, action_size: int) -> Tensor:
    """Return the loss that raises the temperature while the entropy `seen` [T, B] lies below its target."""
    if config.entropy_target is None:
        return torch.zeros_like(entropy.target)
    return entropy.log_temperature * (seen.mean() - entropy.target * action_size)


def roughness(
    config: LearnerConfig, actor: GaussianActor, x: Tensor, next_x: Tensor, mean: Tensor, noise: Tensor
) -> Tensor:
    """Return how much the deterministic canonical action differs at the successor and at an observation nearby.

    It is the squared distance, summed over joints and over both, and averaged over states. Gradients reach the actor
    through both ends. Terminal transitions count like any other, since next_x is the true successor.

    Args:
        config: gives the distance of the observation nearby.
        actor: the current policy's.
        x: normalised observations [T, B, n].
        next_x: normalised true successors [T, B, n].
        mean: the actor's mean [T, B, d] at x, with its graph.
        noise: standard normal [T, B, n].

    Source: Mysore et al. 2021 (CAPS), equations 2 and 3, with squared distances.
    """
    others, _ = actor(torch.stack([next_x, x + config.smoothness_noise * noise]))
    return (actor.squash(others) - actor.squash(mean)).square().sum(-1).sum(0).mean()


def phi_rows(config: LearnerConfig, phi_like: Phi) -> Tensor:
    """Join the parts for mean and log std to one row per state [.., P]; a fixed std is no part of phi."""
    return torch.cat(phi_like, dim=-1) if config.learned_std else phi_like[0]


def predict(embedding: StateActionEmbedding, x: Tensor, next_x: Tensor, actions: Tensor) -> Prediction:
    """Return what f and g say of the transitions from x [T, B, n] by canonical actions [T, B, d] to next_x [T, B, n].

    Terminal transitions count like any other, since next_x is the true successor.
    """
    z = embedding.encode(x)
    with torch.no_grad():
        next_z = embedding.encode(next_x)
    return Prediction(z, next_z, embedding.predict(embedding.state_part(z), actions))


def embedding_loss(prediction: Prediction) -> Tensor:
    """Return the loss of f and g: the mean of (g(f(x), a) - f(x'))^2 over states and entries, f(x') held constant.

    Source: Fujimoto et al. 2023, section 4.1.
    """
    return (prediction.e - prediction.next_z).square().mean()


def estimate(
    critic: DuelingCritic,
    x: Tensor,
    actions: Tensor,
    sampled_actions: Tensor,
    embedding: StateActionEmbedding | None = None,
) -> Estimates:
    """Evaluate V(x) and, for every action, the stochastic dueling Q~(x, a).

    Args:
        critic: K critics.
        x: normalised observations [.., n].
        actions: canonical actions in question [M, .., d].
        sampled_actions: canonical samples of the current policy [n, .., d]; with n = 0, Q~ = V + A.
        embedding: the copy of f and g that these critics read, if any; no gradient reaches it.
    """
    states, inputs, part = x, torch.cat([actions, sampled_actions]), None
    if embedding is not None:
        states, inputs, part = embedding.critic_inputs(states, inputs)
    features = critic.features(states)
    state_part, count = critic.state_part(features), actions.shape[0]
    v, q = critic.estimates(features, state_part, inputs, count)
    return Estimates(state_part, v, q, inputs[:count], part)


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
    networks: Networks, estimates: Estimates, index: int, u: Tensor, pessimism: float
) -> Tensor:
    """Return the gradient of the combined Q~(x, squash(u)) in the pre-squash action u [.., d], without a graph.

    Args:
        networks: its critic and that one's embedding are what `estimates` came from; its actor gives the squash.
        estimates: their estimates, of which action `index` is squash(u).
        index: see above.
        u: one pre-squash action per state.
        pessimism: how the critics are combined.
    """
    # Only A depends on u; the rest of Q~ is a constant, which decides which critic is the pessimistic one.
    slopes = networks.critic.advantage_gradient(estimates.state_part, estimates.inputs[index])
    in_action = (acer.combine_gradient(estimates.q[index], pessimism).unsqueeze(-1) * slopes).sum(0)
    embedding, part = networks.critic_embedding, estimates.embedding_part
    if embedding is not None and part is not None:
        in_action = embedding.action_gradient(part, networks.actor.squash(u), in_action)
    return in_action * acer.squash_slopes(u, networks.actor.squash_kind)[0]


@torch.no_grad()
def pathwise_gradient(
    slope: Tensor, phi: Phi, noise: Tensor, squash: str, entropy_weight: Tensor | float
) -> tuple[Phi, Tensor]:
    """Return the gradient in phi of `J(u) + w_H H`, at u = mean + std * noise, and H itself.

    `grad_mean = s` and `grad_logstd = s * std * noise` for a slope s = dJ/du. H is the entropy of the squashed action:
    the Gaussian's own in closed form plus the log slope of the squash at u, which is 0 for `squash=clip`.

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
