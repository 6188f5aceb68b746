"""The batched learner: networks, average policy, optimiser, and one update of Algorithm 3 for a whole [T, B] batch."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acer_robot import acer
from acer_robot.learner.anneal import entropy_target_after, exported_alpha_after, std_min_after
from acer_robot.learner.baselines import k_step_ascent
from acer_robot.learner.batch import Trajectory, check_shapes
from acer_robot.learner.compiler import compiled
from acer_robot.learner.embeddings import Embeddings
from acer_robot.learner.flat import FlatParameters
from acer_robot.learner.generator import restore_generator
from acer_robot.learner.gradients import (
    Diagnostics,
    Entropy,
    Gradients,
    Networks,
    acer_ascent,
    update_gradients,
)
from acer_robot.learner.precision import products
from acer_robot.policies.build import build_actor, build_critic, build_embedding
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.schema import LearnerConfig

_MIN_LOG_TEMPERATURE = math.log(1e-3)
"""Lower bound of the temperature. Below it the entropy bonus is negligible, and the temperature needs thousands of
updates to recover."""


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
        networks_seed, noise_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(networks_seed)
            self.normalizer = ObservationNormalizer(observation_size, config.normalize_observations)
            self.actor = build_actor(config, observation_size, action_size)
            self.critic = build_critic(config, observation_size, action_size)
            embedding = build_embedding(config, observation_size, action_size)
        self.average_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.deployed_actor = copy.deepcopy(self.average_actor)
        # target_alpha = 0 makes the returns use the critic of the last update, as the paper does.
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature_init)))
        self.register_buffer("advantage_moment", torch.zeros(2))
        self.register_buffer("entropy_target", torch.zeros(()), persistent=False)
        self.to(device=device, dtype=dtype)
        self._count(0)
        self.generator = None if device.type == "meta" else torch.Generator(device).manual_seed(noise_seed)
        self.flat_actor, self.flat_average = FlatParameters(self.actor), FlatParameters(self.average_actor)
        self.flat_exported = FlatParameters(self.deployed_actor)
        self.flat_critic, self.flat_target = FlatParameters(self.critic), FlatParameters(self.target_critic)
        self.embeddings = None
        if embedding is not None:
            self.embeddings = Embeddings(embedding.to(device=device, dtype=dtype), config)
        self._networks = self._evaluated()
        learnt = [self.flat_actor.values, self.flat_critic.values, self.log_temperature]
        self.optimizer = torch.optim.Adam(learnt, lr=config.lr, fused=device.type in ("cpu", "cuda"))
        self._gradients_of = compiled(self._gradients, device) if config.compile else self._gradients

    @property
    def policy(self) -> Policy:
        """The current policy pi; while it acts it is the behaviour policy mu."""
        return Policy(self.normalizer, self.actor)

    @property
    def exported_policy(self) -> Policy:
        """The exported policy: theta_avg, or an average over more updates."""
        return Policy(self.normalizer, self.deployed_actor)

    def checkpoint_state(self) -> dict[str, Any]:
        """Return copies of all parameters, buffers, optimiser moments and the noise generator's state."""
        return {
            "modules": {name: value.detach().clone() for name, value in self.state_dict().items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "embedding_optimizer": copy.deepcopy(self.embeddings.optimizer.state_dict())
            if self.embeddings is not None
            else None,
            "generator": self.generator.get_state() if self.generator is not None else None,
            "updates": self.updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up exactly where `checkpoint_state` was called."""
        self.load_state_dict(state["modules"])
        self._count(state["updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.embeddings is not None:
            self.embeddings.optimizer.load_state_dict(state["embedding_optimizer"])
        if self.generator is not None:
            restore_generator(self.generator, state["generator"])

    def sample_noise(self, *shape: int) -> Tensor:
        """Return standard normal noise from the learner's own generator."""
        like = self.advantage_moment
        return torch.randn(*shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def update(self, batch: Trajectory) -> Diagnostics:
        """Do one update of all that is learnt on segments [T, B]; every state counts alike.

        On CUDA the next update overwrites the returned tensors: read or copy them first.

        Raises:
            ValueError: if the shapes of the batch do not fit.

        Source: Wang et al. 2017, Algorithm 3, each of its lines for all states of all segments at once.
        """
        check_shapes(batch)
        width = self.action_size + (batch.observations.shape[-1] if self.config.smoothness > 0.0 else 0)
        noise = self._fresh_noise(*batch.rewards.shape, width)
        with products(self.config.precision):
            gradients, seen = self._gradients_of(batch, noise)
        self.advantage_moment.copy_(seen.ascent.moment)
        self._step(gradients)
        self._count(self.updates + 1)
        if self.embeddings is not None and gradients.embedding is not None:
            self.embeddings.step(gradients.embedding, self.updates)
        return seen

    def _fresh_noise(self, *shape: int) -> Tensor:
        """Return the noise [1 + n, *shape] of a' and of the n actions of eq. 13, with opposites if asked for."""
        samples = self.config.sdn_samples
        if not self.config.sdn_antithetic:
            return self.sample_noise(1 + samples, *shape)
        noise = self.sample_noise(1 + samples // 2, *shape)
        return torch.cat([noise[:1], acer.with_opposites(noise[1:])])

    def _evaluated(self) -> Networks:
        """Return what an update evaluates; the target critic, with its embedding, only where there is one."""
        bootstrap = self.target_critic if self.config.target_alpha > 0.0 else self.critic
        networks = Networks(self.normalizer, self.actor, self.average_actor, self.critic, bootstrap)
        if self.embeddings is None:
            return networks
        of_critic = self.embeddings.of_critic
        of_bootstrap = self.embeddings.of_target if self.config.target_alpha > 0.0 else of_critic
        return replace(
            networks,
            embedding=self.embeddings.learnt,
            critic_embedding=of_critic,
            bootstrap_embedding=of_bootstrap,
        )

    def _gradients(self, batch: Trajectory, noise: Tensor) -> tuple[Gradients, Diagnostics]:
        """Return `update_gradients` of the learner's networks; this is what is compiled."""
        return update_gradients(
            self.config,
            acer_ascent if self.config.estimator == "acer" else k_step_ascent,
            self._networks,
            (
                self.flat_actor.parameters,
                self.flat_critic.parameters,
                self.embeddings.flat_learnt.parameters if self.embeddings is not None else [],
            ),
            Entropy(self.log_temperature, self.entropy_target),
            self.advantage_moment,
            batch,
            noise,
        )

    def _step(self, gradients: Gradients) -> None:
        """Move theta along (d phi / d theta)^T z, the critics down their loss, and the averages after both."""
        config = self.config
        of_policy: tuple[Tensor | None, ...] = (gradients.actor, gradients.temperature)
        if self.updates % config.policy_every != 0:
            of_policy = (None, None)  # Adam leaves what has no gradient as it is
        self.flat_critic.values.grad = gradients.critic
        self.flat_actor.values.grad, self.log_temperature.grad = of_policy
        self.optimizer.step()
        self.flat_actor.values.grad = gradients.actor  # its norm is reported, whether it was followed or not
        self.log_temperature.detach().clamp_(min=_MIN_LOG_TEMPERATURE)
        self.flat_average.average_towards(self.flat_actor, config.alpha)
        self.flat_exported.average_towards(self.flat_actor, exported_alpha_after(config, self.updates))
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
