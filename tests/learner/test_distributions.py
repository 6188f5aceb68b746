"""What histograms are made of."""

import pytest
import torch
from learner_cases import make_learner, paper_config, random_batch

from acer_robot.learner.diagnostics import distributions


def batch_for(learner):
    return random_batch(learner, 4, 3, seed=0)


def test_actions_are_canonical_and_split_by_joint():
    learner = make_learner(paper_config(squash="tanh"), 3)
    batch = batch_for(learner)
    numbers = distributions(learner, batch)
    assert set(numbers) == {"action/0", "action/1", "action/2", "advantage"}
    assert numbers["action/1"] == batch.actions[..., 1].tanh().flatten().tolist()


def test_advantage_is_the_mean_over_the_critics():
    learner = make_learner(paper_config(critics=2), 3)
    batch = batch_for(learner)
    states, actions = batch.observations.flatten(0, 1), learner.actor.squash(batch.actions).flatten(0, 1)
    expected = []
    for x, a in zip(states, actions, strict=True):
        each = learner.critic.advantage(
            learner.critic.state_part(learner.critic.features(x[None])), a[None, None]
        )
        expected.append(each.mean().item())
    assert distributions(learner, batch)["advantage"] == pytest.approx(expected)


def test_baselines_have_no_advantage_head():
    learner = make_learner(paper_config(estimator="a3c", sdn_samples=0), 3)
    assert "advantage" not in distributions(learner, batch_for(learner))


def test_nothing_is_changed_or_drawn():
    learner = make_learner(paper_config(), 3)
    before = {name: value.clone() for name, value in learner.critic.state_dict().items()}
    batch, state = batch_for(learner), torch.get_rng_state()
    distributions(learner, batch)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in learner.critic.state_dict().items())
