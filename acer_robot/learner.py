"""The batched learner: networks, average policy, optimiser, and one update of Algorithm 3 for a whole [T, B] batch."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from acer_robot import acer
from acer_robot.baselines import k_step_ascent
from acer_robot.compiler import compiled
from acer_robot.config import LearnerConfig
from acer_robot.estimates import (
    Ascent,
    Diagnostics,
    Estimates,
    Phi,
    action_gradient,
    combine,
    estimate,
    log_ratio_gradient,
    log_ratios,
    pathwise_gradient,
)
from acer_robot.flat import FlatParameters, flatten
from acer_robot.networks import build_actor, build_critic
from acer_robot.policies.critic import DuelingCritic
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.schedule import deployed_alpha_after, entropy_target_after, lr_after, std_min_after
from acer_robot.trajectory import Trajectory

_MOMENT_DECAY = 0.99
_MIN_LOG_TEMPERATURE = math.log(1e-3)
"""Lower, the entropy plays no part, and it would take thousands of updates to come back."""


class Learner(nn.Module):
    """All that is learnt, as one module; `update` returns tensors and never waits for the device."""

    advantage_moment: Tensor
    entropy_target: Tensor

    def __init__(
        self,
        config: LearnerConfig,
        observation_size: int,
        action_size: int,
        device: torch.device,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config, self.action_size = config, action_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.normalizer = ObservationNormalizer(observation_size, config.normalize_observations)
            self.actor = build_actor(config, observation_size, action_size)
            self.critic = build_critic(config, observation_size, action_size)
        self.average_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.deployed_actor = copy.deepcopy(self.average_actor)
        # target_alpha = 0 makes the returns use the critic of the last update, as the paper does.
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature_init)))
        self.register_buffer("advantage_moment", torch.zeros(2))
        self.register_buffer("entropy_target", torch.zeros(()), persistent=False)
        self.to(device=device, dtype=dtype)
        self._count(0)
        self.generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)
        self.flat_actor, self.flat_average = FlatParameters(self.actor), FlatParameters(self.average_actor)
        self.flat_deployed = FlatParameters(self.deployed_actor)
        self.flat_critic, self.flat_target = FlatParameters(self.critic), FlatParameters(self.target_critic)
        learnt = [self.flat_actor.values, self.flat_critic.values, self.log_temperature]
        self.optimizer = torch.optim.Adam(learnt, lr=config.lr, fused=device.type in ("cpu", "cuda"))
        self._gradients_of = (
            compiled(self._gradients, self.advantage_moment) if config.compile else self._gradients
        )

    @property
    def policy(self) -> Policy:
        """The current policy pi; while it acts it is the behaviour policy mu."""
        return Policy(self.normalizer, self.actor)

    @property
    def deployed_policy(self) -> Policy:
        """The average policy that is evaluated and deployed: theta_avg, or an average over more updates."""
        return Policy(self.normalizer, self.deployed_actor)

    def checkpoint_state(self) -> dict[str, Any]:
        """Return copies of all parameters, buffers, optimiser moments and the noise generator's state."""
        return {
            "modules": {name: value.detach().clone() for name, value in self.state_dict().items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "generator": self.generator.get_state() if self.generator is not None else None,
            "updates": self.updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up exactly where `checkpoint_state` was called."""
        self.load_state_dict(state["modules"])
        self._count(state["updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.generator is not None:
            self.generator.set_state(state["generator"])

    def sample_noise(self, *shape: int) -> Tensor:
        """Return standard normal noise from the learner's own generator."""
        like = self.advantage_moment
        return torch.randn(*shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def update(self, batch: Trajectory) -> Diagnostics:
        """Do one update of policy, critics and average policy on segments [T, B]; every state counts alike.

        What it returns holds until the next update, as a CUDA graph writes it anew.
        Source: Wang et al. 2017, Algorithm 3, each of its lines for all states of all segments at once.
        """
        noise = self.sample_noise(1 + self.config.sdn_samples, *batch.rewards.shape, self.action_size)
        *gradients, seen = self._gradients_of(batch, noise)
        self._step(*gradients)
        self._count(self.updates + 1)
        return seen

    def _gradients(self, batch: Trajectory, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Diagnostics]:
        """Return the flat gradients of actor and critics, the temperature's, and what they were made of.

        Nothing in here is random and nothing but the advantage's running moment is written, so that it compiles whole.
        """
        config = self.config
        with torch.no_grad():
            x, next_x = self.normalizer(torch.stack([batch.observations, batch.next_observations]))
            phi_average: Phi = self.average_actor(x)
        mean, log_std = self.actor(x)
        phi: Phi = (mean.detach(), log_std.detach())

        # g in phi per state, projected onto the trust region; only then are the states averaged.
        estimator = self._acer if config.estimator == "acer" else self._k_step
        ascent = estimator(batch, x, next_x, phi, noise)
        g, k = ascent.g, self._rows(acer.gaussian_kl_gradient(*phi_average, *phi))
        z = acer.trust_region_projection(g, k, config.delta) if config.trust_region else g
        # The gradient of -<phi, z> is -(d phi / d theta)^T z: descent moves phi along z.
        policy_loss = -(self._rows((mean, log_std)) * z).sum(-1).mean()
        loss = policy_loss + ascent.loss_q + ascent.loss_v + self._temperature_loss(ascent.entropy)
        actor, critic = self.flat_actor.parameters, self.flat_critic.parameters
        inputs = [*actor, *critic, self.log_temperature]
        gradients = torch.autograd.grad(loss, inputs, materialize_grads=True)
        flat = [flatten(gradients[: len(actor)]), flatten(gradients[len(actor) : -1])]
        ascent = replace(ascent, loss_q=ascent.loss_q.detach(), loss_v=ascent.loss_v.detach())
        return flat[0], flat[1], gradients[-1], Diagnostics(ascent, z, phi, phi_average)

    def _acer(self, batch: Trajectory, x: Tensor, next_x: Tensor, phi: Phi, noise: Tensor) -> Ascent:
        """Return ACER's g and losses for normalised observations and the constants phi."""
        config = self.config
        # Fresh actions of the current policy: a' for the correction, u_1..u_n for the dueling network, all disjoint.
        fresh = phi[0] + phi[1].exp() * noise
        drawn = torch.cat([batch.actions.unsqueeze(0), fresh])
        actions = self.actor.squash(drawn)
        log_rho, log_rho_sampled = log_ratios(drawn[:2], phi, batch)

        # Returns, backward in time. Without a target critic the learnt one gives their values, as in the paper.
        online = estimate(self.critic, x, actions[:2], actions[2:])
        exponent = config.trace_exponent / self.action_size
        traces = acer.trace_coefficients(log_rho, self.action_size, exponent, config.trace_lambda)
        q_ret, q_opc = self._returns(batch, next_x, actions, traces)

        g, v, entropy = self._direction(
            batch, phi, drawn[:2], noise[0], online, (log_rho, log_rho_sampled), q_opc
        )

        # Critic: Q~ towards Qret, V towards its importance-weighted target.
        losses = self._critic_losses(online, q_ret, log_rho)
        return Ascent(g, *losses, log_rho, log_rho_sampled, traces, v, entropy)

    def _direction(
        self,
        batch: Trajectory,
        phi: Phi,
        drawn: Tensor,
        noise: Tensor,
        online: Estimates,
        log_rhos: tuple[Tensor, Tensor],
        q_opc: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return g in phi with the departures from the paper, V, and the entropy; `drawn` holds a and a'."""
        config = self.config
        v, q_sampled = self._combine(online.v.detach()), self._combine(online.q[1].detach())
        scale = self._advantage_scale(q_opc - v)
        advantage, advantage_sampled = (q_opc - v) / scale, (q_sampled - v) / scale
        both = (phi[0].expand_as(drawn), phi[1].expand_as(drawn))
        score, score_sampled = self._rows(acer.gaussian_log_prob_gradient(drawn, *both))
        by_score = advantage_sampled if config.correction == "score" else torch.zeros_like(v)
        g = acer.truncated_policy_gradient(score, score_sampled, *log_rhos, advantage, by_score, config.c)
        slope = action_gradient(self.critic, online, 1, self.actor, drawn[1], config.pessimism) / scale
        along_path = config.pathwise * slope
        if config.correction == "pathwise":
            log_rho_gradient = log_ratio_gradient(drawn[1], phi, batch)
            along_path = along_path + acer.correction_slope(
                slope, log_rho_gradient, log_rhos[1], advantage_sampled, config.c
            )
        extra, entropy = pathwise_gradient(along_path, phi, noise, config.squash, self._temperature)
        return g + self._rows(extra), v, entropy

    def _k_step(self, batch: Trajectory, x: Tensor, next_x: Tensor, phi: Phi, _: Tensor) -> Ascent:
        """Return g and the loss of the paper's baselines A3C and TIS, which have no Q."""
        with torch.no_grad():
            critic = self._bootstrap_critic
            values = critic.value(critic.features(torch.stack([x, next_x])))
        online_v = self.critic.value(self.critic.features(x))
        score = self._rows(acer.gaussian_log_prob_gradient(batch.actions, *phi))
        bootstrap = (self._combine(values[:, 0]), self._combine(values[:, 1]))
        return k_step_ascent(self.config, batch, phi, score, online_v, bootstrap, self._advantage_scale)

    def _rows(self, phi_like: Phi) -> Tensor:
        """Join the parts for mean and log std to one row per state [.., P]; a fixed std is no part of phi."""
        return torch.cat(phi_like, dim=-1) if self.config.learned_std else phi_like[0]

    @property
    def _bootstrap_critic(self) -> DuelingCritic:
        """The critic that gives the returns their values: the target critic, or the learnt one where there is none."""
        return self.target_critic if self.config.target_alpha > 0.0 else self.critic

    def _combine(self, values: Tensor) -> Tensor:
        return combine(values, self.config.pessimism)

    @torch.no_grad()
    def _returns(
        self, batch: Trajectory, next_x: Tensor, actions: Tensor, traces: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return Qret and Qopc [T, B] from the target critic, or the critic itself where there is none.

        Of V and Q~ row t + 1 counts only where the episode continues, and there x_{t+1} is the successor of x_t.
        """
        following = actions.roll(-1, dims=1)
        target = estimate(self._bootstrap_critic, next_x, following[:1], following[2:])
        next_q, next_v = self._combine(target.q[0]), self._combine(target.v)
        discounts = self.config.gamma * (~batch.terminated).to(batch.rewards.dtype)
        values = (next_q.roll(1, dims=0), next_v.roll(1, dims=0), next_v)
        arguments = (batch.rewards, discounts, *values, batch.episode_continues)
        q_ret = acer.off_policy_returns(*arguments, traces)
        if self.config.advantage_return == "qret":
            return q_ret, q_ret
        return q_ret, acer.off_policy_returns(*arguments, torch.ones_like(traces))

    @torch.no_grad()
    def _advantage_scale(self, advantage: Tensor) -> Tensor:
        """Return the running root mean square of the advantage, by which delta is freed of the reward's scale."""
        if not self.config.advantage_scaling:
            return torch.ones_like(self.advantage_moment[0])
        seen = torch.stack([advantage.square().mean(), torch.ones_like(self.advantage_moment[0])])
        self.advantage_moment.lerp_(seen, 1.0 - _MOMENT_DECAY)
        return (self.advantage_moment[0] / self.advantage_moment[1]).sqrt().clamp_min(1e-6)

    @property
    def _temperature(self) -> Tensor | float:
        """The weight of the entropy in g, a constant."""
        return self.log_temperature.detach().exp() if self.config.entropy_target is not None else 0.0

    def _critic_losses(self, online: Estimates, q_ret: Tensor, log_rho: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses 1/2 (Qret - Q~)^2 and 1/2 (V_target - V)^2, averaged over states, summed over critics."""
        members = online.v.shape[0]
        q_ret_each, q = q_ret.expand(members, *q_ret.shape), online.q[0]
        v_target = acer.value_target(log_rho.expand_as(q), q_ret_each, q.detach(), online.v.detach())
        loss_q = 0.5 * (q_ret_each - q).square().mean() * members
        loss_v = 0.5 * (v_target - online.v).square().mean() * members
        return loss_q, loss_v

    def _temperature_loss(self, entropy: Tensor) -> Tensor:
        """Raise the temperature while the entropy lies below its target and lower it above."""
        if self.config.entropy_target is None:
            return torch.zeros_like(self.advantage_moment[0])
        return self.log_temperature * (entropy.mean() - self.entropy_target * self.action_size)

    def _step(self, of_actor: Tensor, of_critic: Tensor, of_temperature: Tensor) -> None:
        """Move theta along (d phi / d theta)^T z, the critics down their loss, and the averages after both."""
        config = self.config
        for gradient in (of_actor, of_critic):
            if config.max_grad_norm is not None:
                gradient.mul_((config.max_grad_norm / gradient.norm().clamp_min(1e-12)).clamp(max=1.0))
        self.flat_actor.values.grad, self.flat_critic.values.grad = of_actor, of_critic
        self.log_temperature.grad = of_temperature
        self.optimizer.param_groups[0]["lr"] = lr_after(config, self.updates)
        self.optimizer.step()
        self.log_temperature.detach().clamp_(min=_MIN_LOG_TEMPERATURE)
        self.flat_average.average_towards(self.flat_actor, config.alpha)
        self.flat_deployed.average_towards(self.flat_actor, deployed_alpha_after(config, self.updates))
        if config.target_alpha > 0.0:
            self.flat_target.average_towards(self.flat_critic, config.target_alpha)

    def _count(self, updates: int) -> None:
        """Note how many updates were done, and set what is annealed accordingly."""
        self.updates = updates
        if (target := entropy_target_after(self.config, updates)) is not None:
            self.entropy_target.fill_(target)
        if self.config.std_min_final is not None:
            for actor in (self.actor, self.average_actor, self.deployed_actor):
                actor.set_std_min(std_min_after(self.config, updates))
