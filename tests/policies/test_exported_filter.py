"""Slew-rate limit and low-pass: the filter of the task, and the same inside the exported file."""

import numpy as np
import pytest
import torch
from exported import make_bounds, make_policy, make_run, ordinary_observations

from acer_robot.deployment.export import describe
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported, save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.rate_limit import CommandFilter, check_low_pass, slew_rates, smoothing
from acer_robot.spec import TaskSpec

LIMITS = {
    "slew rate": {"slew_rate": (5.0, None, 10.0, 2.0)},
    "low-pass": {"low_pass_hz": 2.0},
    "both": {"slew_rate": (5.0, None, 10.0, 2.0), "low_pass_hz": 8.0},
}


def make_spec(bounds, **limits):
    return make_run(make_policy(joints=bounds.size), bounds, **limits).spec


def test_slew_rate_by_hand():
    # dt = 0.02 s, so 5 units per second are 0.1 a step; joint 1 rests at the middle of its range.
    filtered = CommandFilter(make_spec(make_bounds([-1, 2], [1, 4]), slew_rate=(5.0, None)), 2)
    commands = np.array([[0.25, 4.0], [-1.0, 2.0]])
    np.testing.assert_allclose(filtered(commands), [[0.1, 4.0], [-0.1, 2.0]])
    np.testing.assert_allclose(filtered(commands), [[0.2, 4.0], [-0.2, 2.0]])
    np.testing.assert_allclose(filtered(commands), [[0.25, 4.0], [-0.3, 2.0]])
    filtered.reset(np.array([False, True]))
    np.testing.assert_allclose(filtered(-commands * [1, -1]), [[0.15, 4.0], [0.1, 2.0]])
    filtered.reset()
    np.testing.assert_allclose(filtered(commands), [[0.1, 4.0], [-0.1, 2.0]])


def test_low_pass_by_hand():
    # The rest of joint 1 is 3, and a step response closes the fraction 1 - exp(-2 pi f dt n) of the way.
    spec = make_spec(make_bounds([-1, 2], [1, 4]), low_pass_hz=2.0)
    filtered = CommandFilter(spec, 1)
    for step in range(1, 40):
        closed = 1.0 - np.exp(-2 * np.pi * 2.0 * 0.02 * step)
        np.testing.assert_allclose(filtered(np.array([[1.0, 2.0]])), [[closed, 3.0 - closed]])


def test_no_limits_pass_commands_through_unchanged():
    filtered = CommandFilter(make_spec(make_bounds([-1, 2], [1, 4])), 3)
    for seed in range(3):
        commands = np.random.default_rng(seed).uniform([-1, 2], [1, 4], (3, 2))
        assert np.array_equal(filtered(commands), commands)


def test_the_caller_may_write_to_what_it_gets():
    filtered = CommandFilter(make_spec(make_bounds([-1], [1]), slew_rate=(5.0,)), 1)
    filtered(np.array([[1.0]]))[:] = 7.0
    np.testing.assert_allclose(filtered(np.array([[1.0]])), [[0.2]])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"knee": 1.0}, "'knee'; this task has hip, ankle"),
        ({"hip": 0.0}, "'hip' is 0.0; expected a positive number"),
        ({"hip": -1.0}, "positive number"),
        ({"hip": float("inf")}, "positive number"),
        ({"hip": float("nan")}, "positive number"),
        ({"hip": 1e-320}, "'hip' is 1e-320; expected a positive number from 1e-09 to 1e\\+12"),
        ({"hip": 1e300}, "positive number from"),
        ({"hip": "fast"}, "'hip' is 'fast'"),
        ({"hip": True}, "'hip' is True"),
    ],
)
def test_slew_rates_that_cannot_be_used(limits, message):
    with pytest.raises(InputError, match=message):
        slew_rates(["hip", "ankle"], limits)


def test_slew_rates_by_name():
    assert slew_rates(["hip", "ankle"], {"ankle": 3}) == (None, 3.0)
    assert slew_rates(["hip", "ankle"], {}) == ()


@pytest.mark.parametrize("frequency", [0.0, -1.0, float("inf"), float("nan")])
def test_low_pass_that_cannot_be_used(frequency):
    with pytest.raises(InputError, match="low_pass_hz"):
        check_low_pass(frequency)


def test_a_slow_low_pass_does_not_round_to_standing_still():
    assert smoothing(make_spec(make_bounds([-1], [1]), low_pass_hz=1e-12)) == pytest.approx(
        2e-14 * 2 * np.pi, rel=1e-9, abs=0
    )


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("batch", [(), (3,)], ids=["single", "batch"])
def test_the_file_limits_changes_as_the_task_does(limits, batch, tmp_path):
    run = make_run(make_policy(), **limits)
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), tmp_path / "policy.pt")
    module = load_exported(tmp_path / "policy.pt").module
    for _ in range(2):
        module.reset()
        reference = CommandFilter(run.spec, max(1, sum(batch)))
        for row in ordinary_observations(run.policy, 50):
            observation = torch.from_numpy(np.broadcast_to(row, (*batch, 5)).copy())
            if batch:
                observation[1] *= -1.0
            canonical = run.policy.act(observation).double().numpy().reshape(-1, 4)
            expected = reference(run.spec.bounds.to_command(canonical)).reshape(*batch, 4)
            np.testing.assert_allclose(module.act(observation)[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_no_observation_exceeds_bounds_or_slew_rate(limits):
    run = make_run(make_policy(), **limits)
    module = ExportedPolicy(run.policy, run.spec)
    bits = np.random.default_rng(0).integers(0, 2**32, (500, 8, 5), dtype=np.uint32).view(np.float32)
    last = np.broadcast_to([0.0, 0.0, 0.0, -2.0], (8, 4))
    rates = np.array([np.inf if rate is None else rate for rate in run.spec.slew_rate or [None] * 4])
    for observations in torch.from_numpy(bits):
        commands = module(observations).double().numpy()
        assert (np.abs(commands - last) <= rates * 0.02 + 3e-7).all()
        assert ((commands >= run.spec.bounds.low) & (commands <= run.spec.bounds.high)).all()
        last = commands


def test_a_low_pass_does_not_round_out_of_the_bounds():
    # previous + alpha (command - previous), with alpha just below 1, of many joints rounds past some.
    low, high = np.sort(np.random.default_rng(0).uniform(-1, 1, (2, 300)), axis=0)
    policy = make_policy(joints=300, mean_bound=None)
    policy.actor.head.weight.mul_(1e4)
    run = make_run(policy, make_bounds(low, high), low_pass_hz=160.0)
    module = ExportedPolicy(policy, run.spec)
    for row in torch.from_numpy(ordinary_observations(policy, 200)):
        command = module(row).double().numpy()
        assert ((command >= low) & (command <= high)).all()


def test_an_unusable_observation_approaches_the_fallback():
    run = make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0))
    module = ExportedPolicy(run.policy, run.spec)
    for row in ordinary_observations(run.policy, 20):
        before = module(torch.from_numpy(row))
    assert before[0].abs() > 0.2, "the test needs a command far from rest"
    nowhere = torch.full((5,), torch.nan)
    command, usable = module.act(nowhere)
    assert not usable
    assert command[1] == 0.0  # not limited, so at rest at once
    torch.testing.assert_close(command[0], before[0] - 0.1 * before[0].sign())
    for _ in range(100):
        command = module(nowhere)
    assert torch.equal(command, torch.tensor([0.0, 0.0, 0.0, -2.0]))


def test_another_batch_needs_a_reset():
    run = make_run(make_policy(), low_pass_hz=2.0)
    module = ExportedPolicy(run.policy, run.spec)
    module(torch.zeros(3, 5))
    for other in (torch.zeros(5), torch.zeros(4, 5)):
        with pytest.raises(ValueError, match=r"the last were \[3, 4\]; call reset\(\)"):
            module(other)
    module.reset()
    assert module(torch.zeros(5)).shape == (4,)


def test_the_caller_may_write_to_the_commands_of_the_file():
    run = make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0))
    module, spoilt = ExportedPolicy(run.policy, run.spec), ExportedPolicy(run.policy, run.spec)
    for row in torch.from_numpy(ordinary_observations(run.policy, 5)):
        expected, command = module(row), spoilt(row)
        assert torch.equal(command, expected)
        command.fill_(9.0)


def test_task_of_a_file_does_not_limit_changes_again(tmp_path):
    run = make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0))
    run.config.task.slew_rate, run.config.task.low_pass_hz = {"joint0": 5.0}, 3.0
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), tmp_path / "policy.pt")
    loaded = load_exported(tmp_path / "policy.pt")
    assert loaded.metadata["task_config"]["slew_rate"] == {"joint0": 5.0}
    assert (loaded.task_config.slew_rate, loaded.task_config.low_pass_hz) == ({}, None)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("batch", [(), (3,)], ids=["single", "batch"])
def test_the_file_observes_the_last_command_as_in_training(limits, batch, tmp_path):
    """The network gets what the filter gave last, mapped to [-1, 1]: the controller's interface stays as it is."""
    run = make_run(make_policy(5 + 4), observes=True, **limits)
    bounds = run.spec.bounds
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), tmp_path / "policy.pt")
    loaded = load_exported(tmp_path / "policy.pt")
    assert loaded.spec.observes_last_command
    low, high = np.array(bounds.low), np.array(bounds.high)
    for _ in range(2):
        loaded.reset()
        last = np.tile([0.0, 0.0, 0.0, -2.0], (*batch, 1))  # the commands at rest
        reference = CommandFilter(run.spec, max(1, sum(batch)))
        moved = 0.0
        for row in ordinary_observations(run.policy, 50)[:, :5]:
            observation = np.broadcast_to(row, (*batch, 5)).copy()
            if batch:
                observation[1] *= -1.0
            canonical = 2.0 * (last - low) / (high - low) - 1.0
            seen = torch.from_numpy(np.concatenate([observation, canonical], axis=-1)).float()
            commands = bounds.to_command(run.policy.act(seen).double().numpy().reshape(-1, 4))
            last = reference(commands).reshape(*batch, 4)
            np.testing.assert_allclose(loaded.act(torch.from_numpy(observation)).numpy(), last, atol=2e-5)
            moved = max(moved, np.abs(canonical).max())
        assert moved > 0.3, "the last command hardly moved"


def test_a_policy_that_observes_no_command_is_exported_as_before():
    """Runs of before 0.2.0 have no `observes_last_command` in their spec."""
    run = make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0))
    older = {name: value for name, value in run.spec.to_dict().items() if name != "observes_last_command"}
    spec = TaskSpec.from_dict(older)
    assert (spec.observes_last_command, spec.input_size) == (False, 5)
    row = torch.from_numpy(ordinary_observations(run.policy, 1)[0])
    assert torch.equal(ExportedPolicy(run.policy, spec)(row), ExportedPolicy(run.policy, run.spec)(row))


def test_one_slew_rate_holds_for_all_joints():
    assert slew_rates(["hip", "ankle"], 4) == (4.0, 4.0)
    with pytest.raises(InputError, match=r"task\.slew_rate is 0; expected a positive number"):
        slew_rates(["hip", "ankle"], 0)
