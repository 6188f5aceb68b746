"""The learnt embedding in an update: its loss, its copies, the slope of Q~ through it, checkpoints, refused options."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math

import pytest
import torch
from composed import composed_train
from learner_cases import moved_to, paper_config, random_batch, small_learner
from torch._dynamo.utils import counters

from acer_robot.acer.ensemble import combine
from acer_robot.errors import InputError
from acer_robot.learner.diagnostics import non_finite, summarise
from acer_robot.learner.gradients import Prediction, action_gradient, embedding_loss, estimate, predict
from acer_robot.metrics import EMBEDDING, LEARNER
from acer_robot.training.feasible import check_sizes
from acer_robot.training.validate import check_train

ON = {"embedding": 4, "embedding_hidden": 6}


def batch_for(learner, seed=0):
    plain = small_learner(**{**dataclasses.asdict(learner.config), "embedding": 0, "compile": False})
    return random_batch(plain, 5, 4, seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trained(updates=3, **options):
    """A learner whose U is no longer 0 and whose three embeddings differ."""
    learner = small_learner(**{**ON, "embedding_refresh": 1, **options})
    for seed in range(updates):
        learner.update(batch_for(learner, seed))
    with torch.no_grad():
        learner.critic.advantage_action[:, 2:].add_(randn(*learner.critic.advantage_action[:, 2:].shape))
    return learner


@pytest.mark.parametrize("squash", ["tanh", "clip"])
@pytest.mark.parametrize("critics", [1, 2])
def test_slope_of_q_is_that_of_automatic_differentiation(squash, critics):
    learner = trained(squash=squash, critics=critics)
    x, u, others = randn(5, 4, 3), 0.6 * randn(5, 4, 2, seed=1), randn(2, 5, 4, 2, seed=2)
    networks = learner._networks
    actions = torch.stack([others[0], networks.actor.squash(u)])
    estimates = estimate(networks.critic, x, actions, others, networks.critic_embedding)
    found = action_gradient(networks, estimates, 1, u, 1.0)

    free = u.clone().requires_grad_()
    action, embedding = networks.actor.squash(free), networks.critic_embedding
    z = embedding.encode(x)
    e = embedding.predict(embedding.state_part(z), action)
    features = networks.critic.features(torch.cat([x, z], -1))
    a_of_action = networks.critic.advantage(
        networks.critic.state_part(features), torch.cat([action, e], -1).unsqueeze(0)
    )[0]
    q = estimates.q[1].detach() - a_of_action.detach() + a_of_action
    (expected,) = torch.autograd.grad(combine(q, 1.0).sum(), free)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-10)
    learner.critic.advantage_action.data[:, 2:] = 0.0
    without = estimate(networks.critic, x, actions, others, embedding)
    assert (action_gradient(networks, without, 1, u, 1.0) - found).abs().mean() > 1e-3


def test_q_and_v_are_those_of_the_joined_inputs():
    """Q~ = V([x, z]) + A([x, z], [a, e]) less its mean over the samples."""
    learner = trained()
    critic, embedding = learner.critic, learner.embeddings.of_critic
    x, actions, samples = randn(5, 4, 3), randn(2, 5, 4, 2, seed=1), randn(3, 5, 4, 2, seed=2)
    states, inputs, _ = embedding.critic_inputs(x, torch.cat([actions, samples]))
    features = critic.features(states)
    v, advantages = critic.value(features), critic.advantage(critic.state_part(features), inputs)
    found = estimate(critic, x, actions, samples, embedding)
    torch.testing.assert_close(found.v, v)
    torch.testing.assert_close(found.q, v + advantages[:2] - advantages[2:].mean(0))


def test_moments_of_the_embedding_are_checked_as_well():
    learner = trained()
    assert non_finite(learner) == []
    (moments,) = learner.embeddings.optimizer.state.values()
    moments["exp_avg_sq"][0] = math.inf
    assert non_finite(learner) == ["embedding_optimizer.0.exp_avg_sq"]


def test_loss_by_hand():
    """Two states, two entries: errors 1, 0, 2, -1 have the mean square 1.5."""
    e = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    next_z = torch.tensor([[[0.0, 2.0], [1.0, 1.0]]])
    assert embedding_loss(Prediction(next_z, next_z, e)).item() == 1.5


def test_successor_is_a_constant():
    learner = small_learner(**ON)
    learnt = learner.embeddings.learnt
    x, next_x, actions = (
        randn(2, 3, 3).requires_grad_(),
        randn(2, 3, 3, seed=1).requires_grad_(),
        randn(2, 3, 2),
    )
    prediction = predict(learnt, x, next_x, actions)
    torch.testing.assert_close(prediction.next_z, learnt.encode(next_x).detach())
    embedding_loss(prediction).backward()
    assert next_x.grad is None
    assert x.grad.abs().max() > 0


def test_embedding_learns_from_its_own_loss_alone():
    learner = trained()
    batch = batch_for(learner, 9)
    x, next_x = learner.normalizer(torch.stack([batch.observations, batch.next_observations]))
    prediction = predict(learner.embeddings.learnt, x, next_x, learner.actor.squash(batch.actions))
    parameters = learner.embeddings.flat_learnt.parameters
    expected = torch.autograd.grad(embedding_loss(prediction), parameters)
    learner.update(batch)
    found = learner.embeddings.flat_learnt.values.grad
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in expected]), rtol=0.0, atol=1e-12)
    assert found.abs().max() > 0


def test_critics_losses_give_the_embeddings_no_gradient():
    learner = trained()
    embeddings = learner.embeddings.requires_grad_()  # whatever a copy is marked as
    batch = batch_for(learner, 9)
    noise = learner.sample_noise(6, *batch.actions.shape)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        grad = torch.autograd.grad
        patch.setattr(
            torch.autograd, "grad", lambda loss, inputs, **k: seen.append(loss) or grad(loss, inputs, **k)
        )
        patch.setattr("acer_robot.learner.gradients.embedding_loss", lambda _: torch.zeros(()))
        learner._gradients(batch, noise)
        patch.undo()
        of_embeddings = grad(seen[0], list(embeddings.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in of_embeddings)


def values(learner):
    parts = (
        learner.embeddings.flat_learnt,
        learner.embeddings.flat_of_critic,
        learner.embeddings.flat_of_target,
    )
    return [part.values.clone() for part in parts]


def test_copies_change_at_250_and_500_alone():
    learner = small_learner(**ON)
    gradient = torch.ones_like(learner.embeddings.flat_learnt.values)
    start = values(learner)[0]
    assert all(torch.equal(start, each) for each in values(learner))
    learnt = {}
    for updates in range(1, 501):
        before = values(learner)
        learner.embeddings.step(gradient, updates)
        learnt[updates], of_critic, of_target = values(learner)
        if updates not in (250, 500):
            assert torch.equal(of_critic, before[1])
            assert torch.equal(of_target, before[2])
        if updates == 250:
            assert torch.equal(of_critic, learnt[250])
            assert torch.equal(of_target, start)
    assert torch.equal(of_critic, learnt[500])
    assert torch.equal(of_target, learnt[250])
    assert not torch.equal(learnt[500], learnt[250])


def test_updates_count_towards_the_refresh():
    learner = small_learner(**ON, embedding_refresh=3)
    for updates in range(1, 5):
        learner.update(batch_for(learner, updates))
        learnt, of_critic, of_target = values(learner)
        assert torch.equal(learnt, of_critic) is (updates == 3)
    assert not torch.equal(of_critic, of_target)


def test_refresh_0_takes_running_averages():
    learner = small_learner(**ON, embedding_refresh=0, target_alpha=0.9)
    learner.update(batch_for(learner))
    before = values(learner)
    learner.update(batch_for(learner, 1))
    learnt, of_critic, of_target = values(learner)
    torch.testing.assert_close(of_critic, 0.9 * before[1] + 0.1 * learnt)
    torch.testing.assert_close(of_target, 0.9 * before[2] + 0.1 * before[1])


@pytest.mark.parametrize("target_alpha", [0.0, 0.9])
def test_returns_use_the_copy_of_their_critic(target_alpha):
    embeddings = (learner := small_learner(**ON, target_alpha=target_alpha)).embeddings
    expected = embeddings.of_target if target_alpha else embeddings.of_critic
    assert learner._networks.bootstrap_embedding is expected
    assert learner._networks.critic_embedding is embeddings.of_critic
    batch, noise = batch_for(learner), randn(6, 5, 4, 2)
    losses = []
    for _ in range(2):
        losses.append(learner._gradients(batch, noise)[1].ascent.loss_q.item())
        with torch.no_grad():
            embeddings.of_target.f[0].weight.add_(1.0)
    assert (losses[0] != losses[1]) is (target_alpha > 0)


@pytest.mark.parametrize("options", [{}, {"embedding_refresh": 0}, {"critics": 1, "sdn_samples": 0}])
def test_update_never_asks_the_device_for_a_number(options):
    learner = small_learner("meta", **ON, **options)
    seen = learner.update(moved_to(batch_for(learner), "meta"))
    assert seen.prediction.e.device.type == "meta"


def test_restored_learner_goes_on_exactly():
    first, second = (small_learner(**ON, embedding_refresh=2) for _ in range(2))
    for seed in range(3):
        first.update(batch_for(first, seed))
    second.restore(copy.deepcopy(first.checkpoint_state()))
    for learner in (first, second):
        for seed in range(3, 6):
            learner.update(batch_for(learner, seed))
    states = first.state_dict(), second.state_dict()
    assert sum("embeddings" in name for name in states[0]) == 3 * len(first.embeddings.flat_learnt.parameters)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_numbers_of_the_embedding_are_nan_without_one():
    learner = small_learner(**ON)
    numbers = summarise(learner.update(batch_for(learner)), learner, 0)
    assert set(numbers) == set(LEARNER)
    assert all(numbers[name] > 0 for name in EMBEDDING)
    plain = small_learner()
    assert all(math.isnan(summarise(plain.update(batch_for(plain)), plain, 0)[name]) for name in EMBEDDING)


def test_exported_policy_knows_nothing_of_it():
    plain, learner = small_learner(), small_learner(**ON)
    names = plain.exported_policy.state_dict()
    assert names.keys() == learner.exported_policy.state_dict().keys()
    assert all(
        torch.equal(names[name], value) for name, value in learner.exported_policy.state_dict().items()
    )


def test_estimators_without_q_refuse_it():
    config = composed_train("learner=tis", "learner.embedding=64", "run_dir=new")
    with pytest.raises(InputError, match=r"learner\.estimator=tis has no Q .* set learner\.embedding=0"):
        check_train(config)


def test_too_wide_an_embedding_is_refused():
    with pytest.raises(InputError, match=r"learner\.embedding=900000000, .* GiB of memory"):
        check_sizes(paper_config(embedding=900_000_000), torch.device("cpu"))


@pytest.mark.slow
def test_update_with_refresh_is_one_graph(monkeypatch):
    """Traced whole, but without a C++ compiler."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    plain, fast = (small_learner(**ON, embedding_refresh=2, compile=choice) for choice in (False, True))
    counters.clear()
    for seed in range(5):
        for learner in (plain, fast):
            learner.update(batch_for(plain, seed))
    torch.testing.assert_close(fast.state_dict(), plain.state_dict(), rtol=0.0, atol=1e-9)
    assert counters["stats"]["unique_graphs"] == 1
