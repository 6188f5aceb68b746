"""Construction of new networks from the learner's options."""

from __future__ import annotations

from acer_robot.policies.actor import GaussianActor
from acer_robot.policies.critic import DuelingCritic
from acer_robot.policies.embedding import StateActionEmbedding
from acer_robot.schema import LearnerConfig


def build_actor(config: LearnerConfig, observation_size: int, action_size: int) -> GaussianActor:
    """Return a newly initialised actor with the sizes and limits in the options."""
    return GaussianActor(
        observation_size,
        action_size,
        config.hidden,
        config.layer_norm,
        config.squash,
        config.learned_std,
        config.std_init,
        config.std_min,
        config.std_max,
        config.mean_bound,
    )


def build_critic(config: LearnerConfig, observation_size: int, action_size: int) -> DuelingCritic:
    """Return newly initialised critics with the sizes in the options."""
    return DuelingCritic(
        observation_size,
        action_size,
        config.hidden,
        config.advantage_hidden,
        config.layer_norm,
        config.critics,
        config.embedding,
        huber=config.priority_exponent > 0.0,
    )


def build_embedding(
    config: LearnerConfig, observation_size: int, action_size: int
) -> StateActionEmbedding | None:
    """Return a freshly initialised embedding as the options describe it; None if they ask for none."""
    if config.embedding == 0:
        return None
    return StateActionEmbedding(observation_size, action_size, config.embedding, config.embedding_hidden)
