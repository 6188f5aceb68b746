"""One update of the default recipe, as docs/departures.md tells it, with autograd in place of every closed form.

Nothing here comes from `acer_robot.acer` or from the learner's gradients: only the networks are the learner's. m and s
are mean and std of the policy, tau is the temperature, eps the noise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional


def default_update(learner, batch, noise) -> dict[str, list[Tensor]]:
    """The gradients of actor, critics, temperature and embedding, each in the direction of descent."""
    config, d = learner.config, learner.action_size
    x, next_x = learner.normalizer(batch.observations), learner.normalizer(batch.next_observations)
    of_critic, of_target = (
        (learner.embeddings.of_critic, learner.embeddings.of_target) if learner.embeddings else (None, None)
    )

    phi = torch.cat(learner.actor(x), -1)
    free = phi.detach().requires_grad_()  # phi as free variables, cut off from the network
    m, log_s = free.chunk(2, -1)
    eps, eps_u = noise[0], noise[1:]
    if config.sdn_antithetic:
        eps_u = torch.cat([eps_u, -eps_u])
    drawn = m + log_s.exp() * eps  # a', with its path to phi
    u = torch.tanh(m + log_s.exp() * eps_u).detach()

    # Values: the smaller of all critics' for returns and policy, each critic's own for its losses.
    v, q = values(learner.critic, of_critic, x, torch.tanh(batch.actions), u)
    _, q_drawn = values(learner.critic, of_critic, x, torch.tanh(drawn), u)
    low_v, low_q_drawn = v.detach().amin(0), q_drawn.amin(0)

    pi = Independent(Normal(m, log_s.exp()), 1)
    mu = Independent(Normal(batch.behaviour_mean, batch.behaviour_log_std.exp()), 1)
    rho = (pi.log_prob(batch.actions) - mu.log_prob(batch.actions)).detach().clamp(-20, 20).exp()
    target = [
        part.detach().amin(0)
        for part in values(learner.target_critic, of_target, x, torch.tanh(batch.actions), u)
    ]
    after = values(learner.target_critic, of_target, next_x, torch.tanh(batch.actions), u)[0].detach().amin(0)
    traces = (rho ** (1 / d)).clamp(max=1)
    q_ret, q_opc = (
        returns(batch, *target, after, c, config.gamma) for c in (traces, torch.ones_like(traces))
    )

    # Policy: advantages scaled, the entropy added, then the projection.
    square, weight = 0.99 * learner.advantage_moment + 0.01 * torch.stack(
        [(q_opc - low_v).square().mean(), torch.ones((), dtype=x.dtype)]
    )
    scale = (square / weight).sqrt()
    tau = learner.log_temperature.detach().exp()
    entropy = pi.entropy() + torch.log(1 - torch.tanh(drawn) ** 2).sum(-1)
    z, is_projected = direction(learner, x, free, pi, low_q_drawn / scale + tau * entropy)

    # Critics.
    weighted = rho.clamp(max=1)
    loss = 0.0
    for v_i, q_i in zip(v, q, strict=True):  # each critic has its own values
        loss = loss + error(config, q_i, q_ret)
        loss = loss + error(config, v_i, (weighted * (q_ret - q_i) + v_i).detach())
    missing = entropy.detach().mean() - d * learner.entropy_target
    states = z[..., 0].numel()
    return {
        "actor": list(torch.autograd.grad(phi, list(learner.actor.parameters()), -z / states)),
        "critic": list(torch.autograd.grad(loss, list(learner.critic.parameters()))),
        "temperature": [missing],
        "embedding": embedding_gradient(learner, x, next_x, batch.actions) if learner.embeddings else [],
        "projected": [is_projected],
    }


def direction(learner, x, free, pi, climbed):
    """z, the gradient of what is climbed in phi, projected; and where the projection changed it."""
    (g,) = torch.autograd.grad(climbed.sum(), free, retain_graph=True)
    average = Independent(Normal(*_mean_and_std(learner.average_actor, x)), 1)
    (k,) = torch.autograd.grad(kl_divergence(average, pi).sum(), free)
    too_much = ((k * g).sum(-1) - learner.config.delta).clamp(min=0)
    return g - (too_much / (k * k).sum(-1)).unsqueeze(-1) * k, too_much > 0


def values(critic, embedding, x, a, u):
    """V(x) and Q~(x, a) [K, T, B] of K critics: eq. 13 with the samples u."""
    states, of_a, of_u = x, a, u
    if embedding is not None:
        z = embedding.encode(x)
        of_a, of_u = (torch.cat([b, embedding.predict(embedding.state_part(z), b)], -1) for b in (a, u))
        states = torch.cat([x, z.detach()], -1)
    features = critic.features(states)
    v, part = critic.value(features), critic.state_part(features)
    return v, v + critic.advantage(part, of_a.unsqueeze(0))[0] - critic.advantage(part, of_u).mean(0)


def returns(batch, v, q, after, traces, gamma):
    """Qret, or Qopc with traces of 1, backward in time; `after` is V of the true successors."""
    found, bracket = [], after[-1]
    for t in reversed(range(len(batch.rewards))):
        if t + 1 < len(batch.rewards):
            goes_on = ~(batch.terminated[t] | batch.truncated[t])
            bracket = torch.where(goes_on, traces[t + 1] * (found[0] - q[t + 1]) + v[t + 1], after[t])
        found.insert(0, batch.rewards[t] + gamma * torch.where(batch.terminated[t], 0.0, bracket))
    return torch.stack(found)


def error(config, value, target):
    """Half the square of the error; Huber's with priorities."""
    if config.priority_exponent > 0:
        return functional.huber_loss(value, target)
    return 0.5 * functional.mse_loss(value, target)


def embedding_gradient(learner, x, next_x, actions):
    """Of the mean of (g(f(x), a) - f(x'))^2, with f(x') a constant."""
    learnt = learner.embeddings.learnt
    e = learnt.predict(learnt.state_part(learnt.encode(x)), torch.tanh(actions))
    loss = functional.mse_loss(e, learnt.encode(next_x).detach())
    return list(torch.autograd.grad(loss, list(learnt.parameters())))


def _mean_and_std(actor, x):
    mean, log_std = actor(x)
    return mean, log_std.exp()
