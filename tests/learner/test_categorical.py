"""The learner with a categorical critic: the scale of rewards, its own learning rate, and what is kept."""

import copy
import dataclasses

import pytest
import torch
from learner_cases import random_batch, small_learner

from acer_robot.learner.diagnostics import summarise
from acer_robot.learner.gradients import return_scale


def batch_for(learner, seed=0, scale=1.0):
    batch = random_batch(learner, 5, 4, seed)
    return dataclasses.replace(batch, rewards=scale * batch.rewards)


def with_deviation(learner, deviation):
    learner.discounted_return.variance.fill_(deviation**2)
    return learner


def test_only_rewards_against_the_spread_of_returns_count():
    first, second = (small_learner(value_bins=21) for _ in range(2))
    with_deviation(first, 2.0).update(batch_for(first))
    with_deviation(second, 20.0).update(batch_for(second, scale=10.0))
    torch.testing.assert_close(first.flat_critic.values, second.flat_critic.values, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(first.flat_actor.values, second.flat_actor.values, rtol=0.0, atol=1e-12)
    third = with_deviation(small_learner(value_bins=21), 2.0)
    third.update(batch_for(third, scale=10.0))
    assert not torch.equal(first.flat_critic.values, third.flat_critic.values)


def test_values_are_told_in_units_of_rewards():
    learner = with_deviation(small_learner(value_bins=21), 3.0)
    seen = learner.update(batch_for(learner))
    told = summarise(seen, learner, 0)
    assert told["acer/v_mean"] == float((3.0 * seen.ascent.v.mean()).float())
    assert float(return_scale(learner.discounted_return)) == 3.0
    other = with_deviation(small_learner(value_bins=21), 30.0)
    wider = summarise(other.update(batch_for(other, scale=10.0)), other, 0)
    for name in ("acer/v_mean", "acer/advantage_scale", "loss/error"):
        assert wider[name] == pytest.approx(10.0 * told[name], rel=1e-5)


def test_learning_rate_of_the_critics_alone():
    same, slower = small_learner(), small_learner(critic_lr=1e-5)
    before = slower.flat_critic.values.clone()
    for learner in (same, slower):
        learner.update(batch_for(learner))
    assert torch.equal(same.flat_actor.values, slower.flat_actor.values)
    moved = (slower.flat_critic.values - before).abs().max()
    assert 0.5e-5 < float(moved) < 1.1e-5


def test_restored_learner_goes_on_exactly():
    first, second = (small_learner(value_bins=21, critic_lr=1e-4) for _ in range(2))
    with_deviation(first, 2.5).update(batch_for(first))
    second.restore(copy.deepcopy(first.checkpoint_state()))
    for learner in (first, second):
        learner.update(batch_for(learner, seed=1))
    assert torch.equal(first.flat_critic.values, second.flat_critic.values)
    assert torch.equal(first.flat_actor.values, second.flat_actor.values)
