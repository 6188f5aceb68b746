"""Algorithm 3 of Wang et al. (2017) as it is printed: one state at a time, float64, loops and all.

Nothing here is fast, and nothing comes from `acer_robot.acer`: the batched code is compared with it. The
names are the paper's (phi, rho, g, k, z), a vector has one axis, a scalar none, and every derivative is taken
by autograd where the package has a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Statistics = tuple[Tensor, Tensor]
"""phi of one state: (mean [d], log_std [d])."""


@dataclass(frozen=True)
class Step:
    """One transition of a stored segment, with what the behaviour policy mu was when it acted."""

    observation: Tensor
    next_observation: Tensor
    action: Tensor
    reward: float
    terminated: bool
    truncated: bool
    behaviour: Statistics


@dataclass(frozen=True)
class Settings:
    """The constants of Algorithm 3; `trace_exponent` None is the paper's 1/d."""

    gamma: float = 0.99
    c: float = 5.0
    delta: float = 1.0
    trace_exponent: float | None = None


@dataclass(frozen=True)
class Draws:
    """The random numbers of one state: the n dueling actions u_j, and the fresh action a'."""

    dueling_actions: Sequence[Tensor]
    sampled_action: Tensor


@dataclass(frozen=True)
class Models:
    """The networks at one state: actor and average actor give phi; the critic gives V(x) and A(x, a)."""

    actor: Callable[[Tensor], Statistics]
    average_actor: Callable[[Tensor], Statistics]
    value: Callable[[Tensor], Tensor]
    advantage: Callable[[Tensor, Tensor], Tensor]
    actor_parameters: Sequence[Tensor]
    critic_parameters: Sequence[Tensor]
    learned_std: bool
    """Whether phi is (mean, log std) or, as in the paper, the mean alone."""


def log_density(action: Tensor, phi: Statistics) -> Tensor:
    """log f(a | phi): the log of a product over the joints."""
    total = torch.zeros((), dtype=torch.float64)
    for a, m, log_s in zip(action, *phi, strict=True):
        variance = torch.exp(log_s) ** 2
        total = total + torch.log(
            torch.exp(-((a - m) ** 2) / (2 * variance)) / torch.sqrt(2 * math.pi * variance)
        )
    return total


def kl_divergence(p: Statistics, q: Statistics) -> Tensor:
    """KL[p || q], joint by joint."""
    total = torch.zeros((), dtype=torch.float64)
    for m_p, log_s_p, m_q, log_s_q in zip(*p, *q, strict=True):
        var_p, var_q = torch.exp(log_s_p) ** 2, torch.exp(log_s_q) ** 2
        total = total + 0.5 * (torch.log(var_q / var_p) + (var_p + (m_p - m_q) ** 2) / var_q - 1)
    return total


def free_statistics(phi: Statistics) -> Statistics:
    """phi as free variables: the same numbers, cut off from the network that made them."""
    mean, log_std = phi
    return mean.detach().clone().requires_grad_(), log_std.detach().clone().requires_grad_()


def gradient_in_phi(function: Callable[[Statistics], Tensor], phi: Statistics, learned_std: bool) -> Tensor:
    """grad_phi of a function of the statistics, one joint vector: 2d numbers, or d where the std is fixed."""
    free = free_statistics(phi)
    wanted = free if learned_std else free[:1]
    return torch.cat(torch.autograd.grad(function(free), wanted))


def dueling_q(value: Tensor, advantage: Tensor, sampled_advantages: Sequence[Tensor]) -> Tensor:
    """Equation 13."""
    baseline = torch.zeros((), dtype=torch.float64)
    for sampled in sampled_advantages:
        baseline = baseline + sampled / len(sampled_advantages)
    return value + advantage - baseline


def returns(
    rewards: Sequence[float],
    terminated: Sequence[bool],
    truncated: Sequence[bool],
    q: Sequence[float],
    v: Sequence[float],
    successor_v: Sequence[float],
    traces: Sequence[float],
    gamma: float,
) -> list[float]:
    """The backward loop of Algorithm 3 for one segment: Qret with the traces c_i, Qopc with ones."""
    last = len(rewards) - 1
    result = [0.0] * len(rewards)
    estimate = math.nan
    for i in range(last, -1, -1):
        if terminated[i]:
            estimate = 0.0
        elif truncated[i] or i == last:
            estimate = successor_v[i]
        estimate = rewards[i] + gamma * estimate
        result[i] = estimate
        estimate = traces[i] * (estimate - q[i]) + v[i]
    return result


def policy_gradient(
    rho: float,
    rho_sampled: float,
    score: Tensor,
    score_sampled: Tensor,
    advantage: float,
    advantage_sampled: float,
    c: float,
) -> Tensor:
    """Equation 15 with equation 16's sample a'."""
    correction = max(0.0, 1.0 - c / rho_sampled)
    return min(c, rho) * advantage * score + correction * advantage_sampled * score_sampled


def project(g: Tensor, k: Tensor, delta: float) -> Tensor:
    """Equation 12."""
    k_g = sum(float(a) * float(b) for a, b in zip(k, g, strict=True))
    k_k = sum(float(a) ** 2 for a in k)
    if k_k == 0.0:
        return g
    return g - max(0.0, (k_g - delta) / k_k) * k


def accumulate_gradients(
    segment: Sequence[Step], draws: Sequence[Draws], models: Models, settings: Settings
) -> tuple[list[Tensor], list[Tensor]]:
    """d theta and d theta_v of Algorithm 3: sums over the segment's states, in the direction of *ascent*."""
    d_theta = [torch.zeros_like(p) for p in models.actor_parameters]
    d_theta_v = [torch.zeros_like(p) for p in models.critic_parameters]
    q_values, rho, traces = [], [], []
    for step, draw in zip(segment, draws, strict=True):
        phi = models.actor(step.observation)
        q_values.append(_q(models, step.observation, step.action, draw))
        rho.append(
            math.exp((log_density(step.action, phi) - log_density(step.action, step.behaviour)).item())
        )
        exponent = 1.0 / len(step.action) if settings.trace_exponent is None else settings.trace_exponent
        traces.append(min(1.0, rho[-1] ** exponent))
    values = [models.value(step.observation) for step in segment]
    chain = (
        [step.reward for step in segment],
        [step.terminated for step in segment],
        [step.truncated for step in segment],
        [q.item() for q in q_values],
        [v.item() for v in values],
        [models.value(step.next_observation).item() for step in segment],
    )
    q_ret = returns(*chain, traces=traces, gamma=settings.gamma)
    q_opc = returns(*chain, traces=[1.0] * len(segment), gamma=settings.gamma)
    for i in range(len(segment) - 1, -1, -1):
        z, phi = _trust_region_direction(segment[i], draws[i], models, settings, rho[i], q_opc[i])
        outputs = phi if models.learned_std else phi[:1]
        pieces = z.split([len(p) for p in outputs])
        _add_gradient(d_theta, outputs, models.actor_parameters, pieces)
        error = q_ret[i] - q_values[i].item()
        _add_gradient(d_theta_v, [error * q_values[i]], models.critic_parameters)
        value_error = min(1.0, rho[i]) * error
        _add_gradient(d_theta_v, [value_error * values[i]], models.critic_parameters)
    return d_theta, d_theta_v


def accumulate_k_step_gradients(
    segment: Sequence[Step], models: Models, settings: Settings, weighted: bool, trust_region: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """A3C's loop over one segment (Mnih et al. 2016); `weighted`: times the product of ratios, at most c, for TIS."""
    d_theta = [torch.zeros_like(p) for p in models.actor_parameters]
    d_theta_v = [torch.zeros_like(p) for p in models.critic_parameters]
    k_step_return, product = 0.0, 1.0
    for i in range(len(segment) - 1, -1, -1):
        step = segment[i]
        phi, value = models.actor(step.observation), models.value(step.observation)
        if step.terminated:
            k_step_return, product = 0.0, 1.0
        elif step.truncated or i == len(segment) - 1:
            k_step_return, product = models.value(step.next_observation).item(), 1.0
        k_step_return = step.reward + settings.gamma * k_step_return
        product *= math.exp((log_density(step.action, phi) - log_density(step.action, step.behaviour)).item())
        weight = min(settings.c, product) if weighted else 1.0
        advantage = k_step_return - value.item()
        a = step.action
        z = (
            weight
            * advantage
            * gradient_in_phi(lambda free, a=a: log_density(a, free), phi, models.learned_std)
        )
        if trust_region:
            average = models.average_actor(step.observation)
            k = gradient_in_phi(lambda free, p=average: kl_divergence(p, free), phi, models.learned_std)
            z = project(z, k, settings.delta)
        outputs = phi if models.learned_std else phi[:1]
        _add_gradient(d_theta, outputs, models.actor_parameters, z.split([len(p) for p in outputs]))
        _add_gradient(d_theta_v, [weight * advantage * value], models.critic_parameters)
    return d_theta, d_theta_v


def _q(models: Models, observation: Tensor, action: Tensor, draw: Draws) -> Tensor:
    sampled = [models.advantage(observation, u) for u in draw.dueling_actions]
    return dueling_q(models.value(observation), models.advantage(observation, action), sampled)


def _trust_region_direction(
    step: Step, draw: Draws, models: Models, settings: Settings, rho: float, q_opc: float
) -> tuple[Tensor, Statistics]:
    """z of one state, and the phi (still attached to the network) that it belongs to."""
    phi, phi_average = models.actor(step.observation), models.average_actor(step.observation)
    a, a_sampled = step.action, draw.sampled_action
    value = models.value(step.observation).item()
    log_rho_sampled = log_density(a_sampled, phi) - log_density(a_sampled, step.behaviour)
    g = policy_gradient(
        rho=rho,
        rho_sampled=math.exp(log_rho_sampled.item()),
        score=gradient_in_phi(lambda free: log_density(a, free), phi, models.learned_std),
        score_sampled=gradient_in_phi(lambda free: log_density(a_sampled, free), phi, models.learned_std),
        advantage=q_opc - value,
        advantage_sampled=_q(models, step.observation, a_sampled, draw).item() - value,
        c=settings.c,
    )
    k = gradient_in_phi(lambda free: kl_divergence(phi_average, free), phi, models.learned_std)
    return project(g, k, settings.delta), phi


def _add_gradient(
    sums: Sequence[Tensor],
    outputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    weights: Sequence[Tensor] | None = None,
) -> None:
    """Add (d outputs / d parameters)^T weights to the sums."""
    gradients = torch.autograd.grad(outputs, parameters, grad_outputs=weights, allow_unused=True)
    for total, gradient in zip(sums, gradients, strict=True):
        if gradient is not None:
            total += gradient
