"""The batched update against Algorithm 3 in loops, to 1e-10; traps that only a whole update can fall into."""

import copy
import dataclasses

import golden_update
import pytest
import reference
import torch
from learner_cases import fix_noise, gradients_of, make_learner, paper_config, random_batch, random_noise
from plain_networks import PlainNetworks, ascent_of, assert_all_close, segment
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from acer_robot.learner.batch import Trajectory
from acer_robot.learner.learner import Learner

LENGTH, SEGMENTS = 7, 4


def draws(networks, batch, noise, b):
    """a' and u_j of each state, from the same standard normal numbers as the learner's."""
    result = []
    for t in range(batch.rewards.shape[0]):
        mean, log_std = (
            part.detach() for part in networks.statistics(networks.actor, batch.observations[t, b])
        )
        actions = [mean + log_std.exp() * row for row in noise[:, t, b]]
        result.append(reference.Draws(sampled_action=actions[0], dueling_actions=actions[1:]))
    return result


def reference_gradients(networks, batch, noise, config):
    """Ascent directions of Algorithm 3, averaged over the states of all segments."""
    settings = reference.Settings(
        gamma=config.gamma,
        c=config.c,
        delta=config.delta,
        trace_exponent=config.trace_exponent / batch.actions.shape[-1],
    )
    totals = None
    for b in range(batch.rewards.shape[1]):
        d_theta, d_theta_v = reference.accumulate_gradients(
            segment(batch, b), draws(networks, batch, noise, b), networks.models(), settings
        )
        gradients = [*d_theta, *d_theta_v]
        totals = gradients if totals is None else [x + y for x, y in zip(totals, gradients, strict=True)]
    return [total / batch.rewards.numel() for total in totals]


def adam(parameters, gradients, moments, step, lr):
    """One step of Adam (Kingma and Ba 2015) uphill, with its usual constants."""
    for parameter, gradient, (first, second) in zip(parameters, gradients, moments, strict=True):
        first.mul_(0.9).add_(gradient, alpha=0.1)
        second.mul_(0.999).add_(gradient**2, alpha=0.001)
        unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
        with torch.no_grad():
            parameter += lr * unbiased[0] / (unbiased[1].sqrt() + 1e-8)


@pytest.mark.parametrize("learned_std", [False, True], ids=["fixed std", "learned std"])
@pytest.mark.parametrize("d", [1, 6, 21])
def test_two_batched_updates_are_algorithm_3_in_loops(d, learned_std):
    config = paper_config(learned_std, c=1.5)
    learner = make_learner(config, d)
    networks = PlainNetworks(learner)
    moments = [
        (torch.zeros_like(p), torch.zeros_like(p)) for p in (*networks.actor, *networks.critic.values())
    ]
    for step in (1, 2):
        batch = random_batch(learner, LENGTH, SEGMENTS, seed=10 * d + step)
        noise = random_noise(learner, batch, seed=step)
        fix_noise(learner, noise)
        seen = learner.update(batch)
        gradients = reference_gradients(networks, batch, noise, config)
        assert_all_close(ascent_of(learner), gradients)

        adam([*networks.actor, *networks.critic.values()], gradients, moments, step, config.lr)
        with torch.no_grad():
            for average, current in zip(networks.average, networks.actor, strict=True):
                average.copy_(config.alpha * average + (1 - config.alpha) * current)
        assert_all_close(learner.actor.parameters(), networks.actor)
        assert_all_close(learner.critic.parameters(), networks.critic.values())
        assert_all_close(learner.average_actor.parameters(), networks.average)

        assert_every_branch_was_taken(batch, seen, config)


def assert_every_branch_was_taken(batch, seen, config):
    """A comparison with Algorithm 3 means nothing where half of the algorithm slept."""
    assert batch.terminated.any()
    assert batch.truncated.any()
    assert (seen.ascent.log_rho < 0).any()
    assert (seen.ascent.log_rho.exp() > config.c).any()
    assert (seen.ascent.log_rho_sampled.exp() > config.c).any()
    assert (seen.ascent.log_rho.abs() < 20).all()  # the loops clamp nothing
    active = (seen.z != seen.ascent.g).any(-1)
    assert active.any()
    assert not active.all()


@pytest.mark.parametrize(
    "changes",
    [{"c": 1.0}, {"c": 0.0}, {"c": 5.0}, {"trace_exponent": 2.1, "delta": 0.01}, {"squash": "tanh"}],
)
def test_other_settings_are_algorithm_3_too(changes):
    config = paper_config(learned_std=True, **changes)
    learner = make_learner(config, 3)
    networks = PlainNetworks(learner)
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=5)
    noise = random_noise(learner, batch, seed=6)
    fix_noise(learner, noise)
    seen = learner.update(batch)
    assert_all_close(ascent_of(learner), reference_gradients(networks, batch, noise, config))
    assert (seen.ascent.log_rho_sampled.exp() > config.c).any()  # the correction was active


def duplicated(batch):
    return Trajectory(
        **{f.name: getattr(batch, f.name).repeat_interleave(2, dim=1) for f in dataclasses.fields(batch)}
    )


def test_trap_3_duplicated_batch_gives_the_same_step():
    """Trap 3: each row is projected by itself, and averaged afterwards."""
    config = paper_config(learned_std=True)
    once, twice = make_learner(config, 4), make_learner(config, 4)
    batch = random_batch(once, LENGTH, SEGMENTS, seed=7)
    noise = random_noise(once, batch, seed=8)
    fix_noise(once, noise)
    fix_noise(twice, noise.repeat_interleave(2, dim=2))
    z_once, z_twice = once.update(batch).z, twice.update(duplicated(batch)).z
    torch.testing.assert_close(z_twice[:, ::2], z_once, rtol=0.0, atol=1e-12)
    for of_twice, of_once in zip(gradients_of(twice), gradients_of(once), strict=True):
        assert_all_close(of_twice, of_once)


def test_trap_6_average_policy_follows_without_a_gradient():
    """Trap 6: the average policy is an exact running average, starts as the actor and is restored."""
    config = paper_config(alpha=0.9)
    learner = Learner(config, 3, 2, torch.device("cpu"), dtype=torch.float64)
    start = [p.detach().clone() for p in learner.actor.parameters()]
    assert_all_close(learner.average_actor.parameters(), start)
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=9)
    learner.update(batch)
    moved = list(learner.actor.parameters())
    assert any((now != before).any() for now, before in zip(moved, start, strict=True))
    expected = [0.9 * before + 0.1 * now for before, now in zip(start, moved, strict=True)]
    assert_all_close(learner.average_actor.parameters(), expected)
    assert not any(p.requires_grad or p.grad is not None for p in learner.average_actor.parameters())


def test_trap_6_the_average_policy_is_restored_exactly():
    """Trap 6: the average policy is an exact running average, starts as the actor and is restored."""
    config = paper_config(learned_std=True)
    learner, other = make_learner(config, 2), make_learner(config, 2)
    for seed in (1, 2):
        learner.update(random_batch(learner, LENGTH, SEGMENTS, seed))
    other.restore(copy.deepcopy(learner.checkpoint_state()))
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=3)
    for each in (learner, other):
        each.update(batch)
    assert all(torch.equal(x, y) for x, y in zip(learner.parameters(), other.parameters(), strict=True))


def test_trap_7_actor_and_critic_do_not_move_each_other():
    """Trap 7: weights, advantages and returns are constants."""
    config = paper_config(learned_std=True)
    learner, other = make_learner(config, 2), make_learner(config, 2)
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=11)
    noise = random_noise(learner, batch, seed=12)
    for each in (learner, other):
        fix_noise(each, noise)
    other.average_actor.load_state_dict(other.actor.state_dict())  # k = 0: another z, the same critic
    seen, seen_other = learner.update(batch), other.update(batch)
    assert (seen.z - seen_other.z).abs().max() > 0.1
    assert_all_close(gradients_of(other)[1], gradients_of(learner)[1])
    with torch.enable_grad():
        mean, log_std = make_learner(config, 2).actor(batch.observations)
    torch.testing.assert_close(seen.phi[0], mean.detach())
    torch.testing.assert_close(seen.phi[1], log_std.detach())


def test_trap_10_ratio_is_of_the_sample_before_the_squash():
    """Trap 10: the sample before the squash is stored, with its own density."""
    learner = make_learner(paper_config(learned_std=True, squash="tanh"), 3)
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=13)
    with torch.no_grad():
        phi = learner.policy(batch.observations)
    # tanh is a bijection: the ratio of the squashed densities, slopes and all, is the same number
    pi, mu = (
        Independent(TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform()), 1)
        for mean, log_std in (phi, (batch.behaviour_mean, batch.behaviour_log_std))
    )
    squashed = torch.tanh(batch.actions)
    expected = pi.log_prob(squashed) - mu.log_prob(squashed)
    torch.testing.assert_close(learner.update(batch).ascent.log_rho, expected)


def test_trap_10_ratio_is_exact_where_the_squash_saturates():
    """Trap 10: the sample before the squash is stored, with its own density."""
    learner = make_learner(paper_config(learned_std=True, squash="clip"), 1)
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=14)
    with torch.no_grad():
        mean, log_std = learner.policy(batch.observations)
    far, shifted = mean + 6.0 * log_std.exp(), mean - log_std.exp()
    stored = dataclasses.replace(batch, actions=far, behaviour_mean=shifted, behaviour_log_std=log_std)
    # six standard deviations off pi and seven off mu: (49 - 36)/2 nats, though clip(far) is the limit itself
    torch.testing.assert_close(learner.update(stored).ascent.log_rho, torch.full_like(batch.rewards, 6.5))


@pytest.mark.parametrize("name", golden_update.CASES)
def test_the_whole_update_is_the_golden_file(name):
    """Parameters, batch and noise in, parameters out; regenerated by `python tests/support/golden_update.py`."""
    stored = golden_update.load(name)
    expected = {key.removeprefix("out/"): value for key, value in stored.items() if key.startswith("out/")}
    actual = golden_update.run_update(name, stored)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            actual[key], value, rtol=0.0, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}"
        )
