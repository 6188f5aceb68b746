"""What changes as updates go by: the limit of a learned std, entropy target, learning rate, the exported average."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from composed import composed_train
from learner_cases import STATE_SIZE, random_batch, small_learner

from acer_robot.errors import InputError
from acer_robot.learner.anneal import entropy_target_after, exported_alpha_after, std_min_after
from acer_robot.schema import LearnerConfig
from acer_robot.training.validate import check_train

FALLING = {"std_min": 0.3, "std_min_final": 0.1, "annealing_start": 0, "annealing_updates": 4}
TARGET = {"entropy_target": -1.0, "entropy_target_final": -2.0, "annealing_start": 1, "annealing_updates": 4}
TARGET["std_min_final"] = None


def narrowest(actor):
    """The standard deviation where the network asks for none at all, read off the policy itself."""
    actor = copy.deepcopy(actor)
    with torch.no_grad():
        actor.head.bias[actor.action_size :] = -1e9
        return actor(torch.zeros(STATE_SIZE, dtype=torch.float64))[1].exp().unique().item()


@pytest.mark.parametrize(
    ("updates", "expected"), [(0, 0.3), (2, math.sqrt(0.3 * 0.1)), (4, 0.1), (1_000, 0.1)]
)
def test_std_limit_falls_steadily_in_log_space(updates, expected):
    assert std_min_after(LearnerConfig(**FALLING), updates) == pytest.approx(expected, rel=1e-12)
    assert std_min_after(LearnerConfig(std_min=0.3, std_min_final=None), updates) == 0.3


def test_all_policies_keep_to_the_std_limit():
    learner, other = small_learner(**FALLING), small_learner(**FALLING)
    assert narrowest(learner.actor) == pytest.approx(0.3)
    for seed in range(2):
        learner.update(random_batch(learner, length=3, segments=2, seed=seed))
    other.restore(copy.deepcopy(learner.checkpoint_state()))
    for each in (learner, other):
        for actor in (each.actor, each.average_actor, each.deployed_actor):
            assert narrowest(actor) == pytest.approx(math.sqrt(0.3 * 0.1))
    batches = [random_batch(learner, length=3, segments=2, seed=seed) for seed in range(2, 5)]
    for each in (learner, other):
        for batch in batches:
            each.update(batch)
        assert narrowest(each.actor) == narrowest(each.average_actor) == pytest.approx(0.1)
    assert all(torch.equal(x, y) for x, y in zip(learner.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("updates", "expected"), [(0, -1.0), (1, -1.0), (2, -1.25), (5, -2.0), (1_000, -2.0)]
)
def test_entropy_target_moves_at_a_steady_rate(updates, expected):
    assert entropy_target_after(LearnerConfig(**TARGET), updates) == pytest.approx(expected, rel=1e-12)
    assert (
        entropy_target_after(LearnerConfig(entropy_target=-1.0, entropy_target_final=None), updates) == -1.0
    )


def test_temperature_follows_the_annealed_target():
    """The gradient of log T is the surplus of entropy over the target, for both of the action's joints."""
    steady = TARGET | {"entropy_target_final": None}
    plain, learner, other = small_learner(**steady), small_learner(**TARGET), small_learner(**TARGET)
    batch = random_batch(learner, length=3, segments=2, seed=0)
    for updates, expected in ((1, -1.0), (3, -1.5), (9, -2.0)):
        for each in (plain, learner):
            each.restore(plain.checkpoint_state() | {"updates": updates})
        noise = plain.sample_noise(1 + plain.config.sdn_samples, *batch.rewards.shape, plain.action_size)
        surplus = [each._gradients(batch, noise)[0].temperature.item() for each in (plain, learner)]
        assert surplus[1] - surplus[0] == pytest.approx((plain.config.entropy_target - expected) * 2)
    other.restore(learner.checkpoint_state())
    assert other.entropy_target.item() == -2.0


def test_a_final_entropy_target_without_a_first_is_refused():
    with pytest.raises(InputError, match=r"learner\.entropy_target_final=-2\.0 has nothing to begin from"):
        check_train(composed_train("learner=paper", "learner.entropy_target_final=-2", "run_dir=new"))


def test_the_limit_stays_where_no_other_is_asked_for():
    learner = small_learner(std_min=0.2, std_min_final=None)
    learner.update(random_batch(learner, length=3, segments=2, seed=0))
    assert narrowest(learner.actor) == narrowest(learner.average_actor) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "option",
    [
        "deployed_alpha=1.1",
        "std_min_final=0",
        "std_min_final=0.4",
        "annealing_updates=0",
        "annealing_start=-1",
    ],
)
def test_what_cannot_be_is_refused_by_name(option):
    with pytest.raises(InputError, match=rf"learner\.{option.split('=')[0]}=.* out of range"):
        check_train(composed_train(f"learner.{option}", "run_dir=new"))


@pytest.mark.parametrize(("updates", "expected"), [(0, 0.1), (8, 0.5), (890, 0.99), (1_000_000, 0.999)])
def test_deployed_alpha_rises_to_its_value(updates, expected):
    options = LearnerConfig(alpha=0.9, deployed_alpha=0.999)
    assert exported_alpha_after(options, updates) == pytest.approx(expected)
    assert exported_alpha_after(LearnerConfig(alpha=0.9, deployed_alpha=None), updates) == 0.9


def test_exported_policy_forgets_the_start_soon():
    learner = small_learner(alpha=0.9, deployed_alpha=0.9998)
    start = learner.flat_actor.values.clone()
    learner.update(random_batch(learner, length=3, segments=2, seed=0))
    first = learner.flat_actor.values.clone()
    torch.testing.assert_close(learner.flat_exported.values, 0.1 * start + 0.9 * first)
    torch.testing.assert_close(learner.flat_average.values, 0.9 * start + 0.1 * first)
    learner.update(random_batch(learner, length=3, segments=2, seed=1))
    expected = 2 / 11 * (0.1 * start + 0.9 * first) + 9 / 11 * learner.flat_actor.values
    torch.testing.assert_close(learner.flat_exported.values, expected)


def test_exported_policy_is_the_average_without_its_alpha():
    learner = small_learner(deployed_alpha=None)
    for seed in range(2):
        learner.update(random_batch(learner, length=3, segments=2, seed=seed))
    assert torch.equal(learner.flat_exported.values, learner.flat_average.values)
