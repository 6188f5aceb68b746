"""The batched update as a whole: averages, constants, device discipline, restoring, and the traps of Algorithm 3."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from learner_cases import moved_to, paper_config, random_batch, small_learner
from torch import nn
from torch._dynamo.utils import counters

from acer_robot.acer.ensemble import combine
from acer_robot.errors import NonFiniteError
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.diagnostics import summarise
from acer_robot.metrics import LEARNER, healthy_range

PAPER = {**dataclasses.asdict(paper_config()), "hidden": [16, 16]}
BASELINES = [
    {**PAPER, "estimator": "a3c"},
    {**PAPER, "estimator": "tis", "learned_std": True, "std_init": 0.5},
]


def batch_for(learner, seed=0):
    """Segments whose behaviour policy is near that of a learner like this one, on the CPU."""
    near = small_learner(**dataclasses.asdict(learner.config))
    return random_batch(near, 5, 4, seed)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("behaviour_mean", (..., slice(1))),
        ("behaviour_log_std", 0),
        ("truncated", slice(1)),
        ("terminated", (slice(None), slice(1))),
        ("rewards", (..., None)),
        ("next_observations", (..., slice(2))),
        ("actions", 0),
    ],
)
@pytest.mark.parametrize("options", [{}, PAPER, *BASELINES])
def test_wrong_shapes_are_refused_and_not_broadcast(options, name, part):
    learner = small_learner(**options)
    batch = batch_for(learner)
    with pytest.raises(ValueError, match=rf"{name} \("):
        learner.update(dataclasses.replace(batch, **{name: getattr(batch, name)[part]}))


def test_one_transition_in_an_update_has_finite_numbers():
    learner = small_learner(embedding=4)
    batch = random_batch(learner, 1, 2, 0)
    parts = {field.name: getattr(batch, field.name)[:, :1] for field in dataclasses.fields(batch)}
    seen = learner.update(Trajectory(**parts))
    assert summarise(seen, learner, 1)["embedding/std"] == 0.0


def test_values_advantages_and_errors_are_told_as_they_are():
    learner = small_learner(priority_exponent=0.4)
    seen = learner.update(batch_for(learner))
    told, (square, weight) = summarise(seen, learner, 1), learner.advantage_moment.tolist()
    assert told["acer/v_mean"] == pytest.approx(float(seen.ascent.v.mean()))
    assert told["loss/error"] == pytest.approx(float(seen.ascent.error.mean()))
    assert told["acer/advantage_scale"] == pytest.approx((square / weight) ** 0.5)
    assert len({round(told[name], 6) for name in ("acer/v_mean", "loss/error", "acer/advantage_scale")}) == 3


@pytest.mark.parametrize("options", [PAPER, {**PAPER, "trace_lambda": 0.0}])
def test_papers_numbers_are_in_their_healthy_range(options):
    learner = small_learner(**options)
    numbers = summarise(learner.update(batch_for(learner)), learner, 1)
    for name in ("acer/advantage_scale", "acer/trace_mean", "loss/q"):
        low, high = healthy_range(name, options, numbers)
        assert low <= numbers[name] <= high, name


def parameters(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


@pytest.mark.parametrize(
    "options",
    [{}, {"critics": 2}, PAPER, {"sdn_samples": 0}, {"priority_exponent": 0.4}, *BASELINES],
)
def test_the_update_never_asks_the_device_for_a_number(options):
    """A meta tensor has no value: whatever would synchronise with the host raises."""
    learner = small_learner("meta", **options)
    before = learner.flat_actor.values
    seen = learner.update(moved_to(batch_for(learner), "meta"))
    assert seen.z.device.type == "meta"
    assert learner.flat_actor.values is before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"critics": 2},
        PAPER,
        {"sdn_samples": 0},
        {"sdn_samples": 2, "sdn_antithetic": True},
        {"priority_exponent": 0.4, "embedding": 4},
        {"trust_region": False},
        *BASELINES,
    ],
)
def test_policy_and_critic_move_and_stay_finite(options):
    learner = small_learner(**options)
    actor, critic = parameters(learner.actor), parameters(learner.critic)
    for seed in range(5):
        seen = learner.update(batch_for(learner, seed))
    assert not torch.equal(actor, parameters(learner.actor))
    assert not torch.equal(critic, parameters(learner.critic))
    assert set(summarise(seen, learner, 0)) == set(LEARNER)


def test_trap_6_restored_learner_goes_on_exactly():
    """Trap 6: the average policy is an exact running average, starts as the actor and is restored."""
    first, second = small_learner(), small_learner()
    for seed in range(3):
        first.update(batch_for(first, seed))
    second.restore(copy.deepcopy(first.checkpoint_state()))
    for learner in (first, second):
        for seed in range(3, 6):
            learner.update(batch_for(learner, seed))
    assert torch.equal(parameters(first), parameters(second))
    assert torch.equal(first.advantage_moment, second.advantage_moment)


def test_a_checkpoint_is_a_copy_that_later_updates_leave_alone():
    learner = small_learner()
    state = learner.checkpoint_state()
    before = copy.deepcopy(state["modules"])
    learner.update(batch_for(learner))
    assert all(torch.equal(before[name], state["modules"][name]) for name in before)


def test_trap_7_the_policy_gradient_does_not_reach_the_critic():
    """Trap 7: The critics' gradient is the same whatever the policy's share is."""
    gradients = []
    for correction in ("none", "pathwise"):
        learner = small_learner(correction=correction)
        learner.update(batch_for(learner))
        gradients.append(learner.flat_critic.values.grad.clone())
    assert gradients[0].abs().max() > 0
    assert torch.equal(gradients[0], gradients[1])


def test_trap_9_time_limit_takes_the_true_successors_value():
    """Trap 9: a time limit bootstraps from the true final observation."""
    batch = batch_for(small_learner())
    none = torch.zeros_like(batch.terminated)
    batch = dataclasses.replace(batch, terminated=none, truncated=none)
    end = torch.zeros_like(batch.terminated)
    end[2] = True
    elsewhere = batch.next_observations + 3.0 * end.unsqueeze(-1)
    losses = {}
    for kind in ("truncated", "terminated"):
        for name, successors in (("same", batch.next_observations), ("other", elsewhere)):
            data = dataclasses.replace(batch, **{kind: end}, next_observations=successors)
            losses[kind, name] = small_learner().update(data).ascent.loss_q.item()
    assert losses["truncated", "same"] != losses["truncated", "other"]
    assert losses["terminated", "same"] == losses["terminated", "other"]


def test_trap_11_a_fixed_std_leaves_the_mean_as_the_whole_of_phi():
    """Trap 11: with a fixed std phi is the mean alone."""
    learner = small_learner(**PAPER)
    seen = learner.update(batch_for(learner))
    assert seen.z.shape[-1] == 2
    assert torch.equal(learner.actor.log_std, torch.full((2,), 0.3).log())


def test_trap_13_dueling_samples_exclude_their_own_action():
    """Trap 13: With one sample for both a' and u, the correction's advantage A(a') - A(u) would be 0 everywhere."""
    learner = small_learner(
        sdn_samples=1, c=0.0, correction="score", advantage_scaling=False, entropy_target=None
    )
    seen = learner.update(batch_for(learner))
    assert (seen.ascent.g.abs().amax(-1) > 1e-6).all()


def test_advantages_are_scaled_to_be_free_of_the_reward_scale():
    """The same g for rewards a thousand times as large, once values have been scaled with them."""
    seen = {}
    for factor in (1.0, 1000.0):
        learner = small_learner(entropy_target=None)
        with torch.no_grad():
            for critic in (learner.critic, learner.target_critic):
                for head in (critic.value_head, critic.advantage_head):
                    head.weight.mul_(factor)
                    head.bias.mul_(factor)
        batch = batch_for(learner)
        seen[factor] = learner.update(dataclasses.replace(batch, rewards=batch.rewards * factor))
    torch.testing.assert_close(seen[1.0].ascent.g, seen[1000.0].ascent.g, rtol=1e-4, atol=1e-5)


def test_temperature_falls_above_the_entropy_target():
    for target, sign in ((-10.0, -1.0), (10.0, 1.0)):
        learner = small_learner(entropy_target=target)
        before = learner.log_temperature.item()
        learner.update(batch_for(learner))
        assert (learner.log_temperature.item() - before) * sign > 0


def test_pessimism_takes_the_mean_at_0_and_the_minimum_at_1():

    values = torch.tensor([[1.0, 5.0], [3.0, -1.0]])
    assert combine(values, 0.0).tolist() == [2.0, 2.0]
    assert combine(values, 1.0).tolist() == [1.0, -1.0]
    assert combine(values[:1], 1.0).tolist() == [1.0, 5.0]


def test_a_nan_in_a_loss_is_named():
    learner = small_learner()
    batch = batch_for(learner)
    batch.rewards[2, 1] = float("nan")
    seen = learner.update(batch)
    with pytest.raises(NonFiniteError, match="loss/q is nan at environment step 7"):
        summarise(seen, learner, 7)


def test_the_same_seed_gives_the_same_update():
    results = []
    for _ in range(2):
        learner = small_learner()
        learner.update(batch_for(learner))
        results.append(parameters(learner))
    assert torch.equal(*results)


@pytest.mark.slow
def test_the_compiled_update_is_the_update():
    """Whole updates, one after the other, against the same without a compiler; both draw the same noise."""
    falling = {"std_min_final": 0.1, "entropy_target": -1.0, "entropy_target_final": -2.0}
    falling |= {"annealing_start": 0, "annealing_updates": 3}  # which the graph must not take for constants
    eager, fast = (small_learner(critics=2, compile=choice, **falling) for choice in (False, True))
    counters.clear()
    for seed in (1, 2, 3):
        batch = random_batch(eager, 6, 3, seed)
        seen, seen_fast = eager.update(batch), fast.update(batch)
        torch.testing.assert_close(seen_fast.z, seen.z, rtol=0.0, atol=1e-9)
    moved, expected = dict(fast.named_parameters()), dict(eager.named_parameters())
    torch.testing.assert_close(moved, expected, rtol=0.0, atol=1e-9)
    assert torch.equal(fast.advantage_moment[1], eager.advantage_moment[1])
    assert counters["stats"]["unique_graphs"] == 1  # forward and backward pass are one graph, compiled once


def test_policy_learns_in_every_third_update_alone():
    learner, moved = small_learner(policy_every=3), []
    for seed in range(7):
        parts = (learner.flat_actor.values, learner.log_temperature, learner.flat_critic.values)
        before = [part.detach().clone() for part in parts]
        seen = learner.update(batch_for(learner, seed))
        moved.append([not torch.equal(part, old) for part, old in zip(parts, before, strict=True)])
        assert summarise(seen, learner, 1)["grad/norm_policy"] > 0.0
    assert moved == [[policy, policy, True] for policy in (True, False, False, True, False, False, True)]


def test_antithetic_update_is_one_with_these_actions():
    """An update draws a' and n / 2 actions, and equals the plain one that is given their opposites as well."""
    plain, paired = (small_learner(sdn_samples=4, sdn_antithetic=choice) for choice in (False, True))
    batch = batch_for(plain)
    noise = small_learner().sample_noise(3, *batch.rewards.shape, 2)
    _, expected = plain._gradients(batch, torch.cat([noise, -noise[1:]]))
    seen = paired.update(batch)
    assert torch.equal(seen.ascent.g, expected.ascent.g)
    assert torch.equal(seen.ascent.loss_q, expected.ascent.loss_q)


def test_priorities_make_both_losses_linear_above_an_error_of_1():
    """With one critic `error` is |Qret - Q~| itself, so that the losses can be made from it."""
    plain, linear = (small_learner(critics=1, priority_exponent=exponent) for exponent in (0.0, 0.4))
    batch = batch_for(plain)
    batch.rewards.mul_(3.0)
    seen = plain.update(batch)
    error = seen.ascent.error
    assert error.min() < 1.0 < error.max()
    torch.testing.assert_close(seen.ascent.loss_q, 0.5 * error.square().mean())
    expected = torch.where(error > 1.0, error - 0.5, 0.5 * error.square()).mean()
    robust = linear.update(batch).ascent
    assert torch.equal(robust.error, error)
    torch.testing.assert_close(robust.loss_q, expected)
    assert robust.loss_v < seen.ascent.loss_v


def test_the_error_is_that_of_the_critic_that_is_further_off():
    """Two critics that are alike, and then one of them says 100 more."""
    learner = small_learner(critics=2)
    batch = random_batch(learner, 1, 2, 0)
    with torch.no_grad():
        for values in learner.critic.parameters():
            values[1] = values[0]
    learner.target_critic.load_state_dict(learner.critic.state_dict())
    noise = learner.sample_noise(6, 1, 2, 2)
    _, alike = learner._gradients(batch, noise)
    with torch.no_grad():
        learner.critic.value_head.bias[1] += 100.0
    _, apart = learner._gradients(batch, noise)
    assert alike.ascent.error.max() < 50.0
    torch.testing.assert_close((apart.ascent.error - 100.0).abs(), alike.ascent.error)
