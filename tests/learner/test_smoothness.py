"""The penalty on changes of the deterministic action between neighbouring observations."""

import dataclasses

import pytest
import torch
from learner_cases import random_batch, small_learner

from acer_robot.learner.gradients import roughness
from acer_robot.schema import LearnerConfig

WEIGHT = 0.7


def pair():
    return [small_learner(smoothness=weight, sdn_samples=2) for weight in (0.0, WEIGHT)]


def test_gradient_of_the_actor_gains_that_of_the_penalty_alone():
    plain, smooth = pair()
    batch = random_batch(smooth, 5, 8, 3)
    noise = smooth.sample_noise(3, *batch.rewards.shape, 2 + batch.observations.shape[-1])
    without = plain._gradients(batch, noise[..., :2])[0]
    found = smooth._gradients(batch, noise)[0]
    x, next_x, near = (
        smooth.normalizer(part) for part in (batch.observations, batch.next_observations, batch.observations)
    )
    near = near + 0.05 * noise[0, ..., 2:]
    action = [torch.tanh(smooth.actor(part)[0]) for part in (x, next_x, near)]
    penalty = sum((other - action[0]).square().sum(-1).mean() for other in action[1:])
    parameters = smooth.flat_actor.parameters
    expected = torch.autograd.grad(WEIGHT * penalty, parameters, allow_unused=True, materialize_grads=True)
    flat = torch.cat([gradient.flatten() for gradient in expected])
    torch.testing.assert_close(found.actor - without.actor, flat, rtol=0.0, atol=1e-12)
    assert flat.abs().max() > 1e-6
    assert torch.equal(found.critic, without.critic)


def test_updates_with_the_penalty_change_the_action_less():
    seen = []
    for learner in pair():
        batch = random_batch(learner, 5, 8, 3)
        for _ in range(200):
            learner.update(batch)
        x, next_x = learner.normalizer(torch.stack([batch.observations, batch.next_observations]))
        config = dataclasses.replace(learner.config, smoothness_noise=0.0)
        rough = roughness(config, learner.actor, x, next_x, learner.actor(x)[0], torch.zeros_like(x))
        seen.append(float(rough.detach()))
    assert seen[1] < 0.5 * seen[0]


def test_default_draws_no_further_noise():
    assert LearnerConfig().smoothness == 0.0
    plain, smooth = pair()
    batch = random_batch(plain, 5, 8, 3)
    plain.update(batch)
    smooth.update(batch)
    fresh = small_learner(sdn_samples=2)
    fresh.sample_noise(3, *batch.rewards.shape, 2)
    assert torch.equal(plain.sample_noise(5), fresh.sample_noise(5))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(plain.sample_noise(5), smooth.sample_noise(5))
