"""Ratios, traces, returns and targets: chains worked by hand, reductions to known returns, and the traps."""

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from acer_robot.acer import importance_log_ratio, off_policy_returns, trace_coefficients, value_target
from acer_robot.learner.batch import Trajectory


def column(*values):
    """A segment of one environment: [T, 1]."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


# One chain for all the hand-worked cases. Every number differs, so that no mix-up of two of them goes unseen.
REWARDS, Q, V, NEXT_V = (1.0, 2.0, 4.0), (10.0, 20.0, 40.0), (3.0, 5.0, 7.0), (5.0, 7.0, 9.0)
TRACES = (0.3, 0.5, 0.25)
GAMMA = 0.5


def chain_returns(continues, discounts=(GAMMA, GAMMA, GAMMA), traces=TRACES, v=V, next_v=NEXT_V):
    return off_policy_returns(
        rewards=column(*REWARDS),
        discounts=column(*discounts),
        q=column(*Q),
        v=column(*v),
        next_v=column(*next_v),
        episode_continues=torch.tensor(continues).unsqueeze(1),
        traces=column(*traces),
    )


def test_three_steps_of_one_episode_by_hand():
    # G2 = 4 + .5 * 9 = 8.5;  G1 = 2 + .5 (.25 (8.5 - 40) + 7) = 1.5625
    # G0 = 1 + .5 (.5 (1.5625 - 20) + 5) = -1.109375
    torch.testing.assert_close(chain_returns([True, True, False]), column(-1.109375, 1.5625, 8.5))


def test_a_terminal_in_the_middle_by_hand():
    # step 1 ends the task: G1 = 2 and nothing more;  G0 = 1 + .5 (.5 (2 - 20) + 5) = -1
    result = chain_returns([True, False, False], discounts=(GAMMA, 0.0, GAMMA))
    torch.testing.assert_close(result, column(-1.0, 2.0, 8.5))


def test_a_terminal_at_the_end_by_hand():
    # G2 = 4;  G1 = 2 + .5 (.25 (4 - 40) + 7) = 1;  G0 = 1 + .5 (.5 (1 - 20) + 5) = -1.25
    result = chain_returns([True, True, False], discounts=(GAMMA, GAMMA, 0.0))
    torch.testing.assert_close(result, column(-1.25, 1.0, 4.0))


def test_trap_9_a_time_limit_in_the_middle_by_hand():
    """Trap 9: a time limit bootstraps from the true final observation."""
    # step 1 is cut off in a state worth 6:  G1 = 2 + .5 * 6 = 5;  G0 = 1 + .5 (.5 (5 - 20) + 5) = -.25
    result = chain_returns([True, False, False], next_v=(5.0, 6.0, 9.0))
    torch.testing.assert_close(result, column(-0.25, 5.0, 8.5))


@pytest.mark.parametrize("discount", [GAMMA, 0.0], ids=["time limit", "terminal"])
def test_trap_9_the_reset_observation_is_never_used_as_successor(discount):
    """Trap 9: a time limit bootstraps from the true final observation."""
    discounts = (GAMMA, discount, GAMMA)
    before = chain_returns([True, False, False], discounts=discounts)
    # step 2 is the next episode's first: its value, its Q and its trace are no business of steps 0 and 1
    after = chain_returns(
        [True, False, False], discounts=discounts, v=(3.0, 5.0, -1e6), traces=(0.3, 0.5, 1e6)
    )
    torch.testing.assert_close(after[:2], before[:2])


def test_trap_9_a_time_limit_is_worth_its_successor():
    """Trap 9: a time limit bootstraps from the true final observation."""
    trajectory = Trajectory(
        observations=torch.zeros(3, 1, 2),
        next_observations=torch.zeros(3, 1, 2),
        actions=torch.zeros(3, 1, 1),
        rewards=torch.zeros(3, 1),
        terminated=torch.tensor([[False], [True], [False]]),
        truncated=torch.tensor([[True], [False], [False]]),
        behaviour_mean=torch.zeros(3, 1, 1),
        behaviour_log_std=torch.zeros(3, 1, 1),
    )
    assert trajectory.episode_continues.tolist() == [[False], [False], [False]]
    discounts = GAMMA * (1.0 - trajectory.terminated.double())
    zero = torch.zeros(3, 1, dtype=torch.float64)
    result = off_policy_returns(
        zero, discounts, zero, zero, column(2.0, 4.0, 8.0), trajectory.episode_continues, zero + 1
    )
    torch.testing.assert_close(result, column(1.0, 0.0, 4.0))


def test_episode_continues_except_at_its_ends():
    flags = torch.tensor([[False, False], [False, True], [False, False], [False, False]])
    nothing = torch.zeros(4, 2, 1)
    trajectory = Trajectory(
        observations=nothing,
        next_observations=nothing,
        actions=nothing,
        rewards=nothing[..., 0],
        terminated=flags,
        truncated=torch.zeros_like(flags),
        behaviour_mean=nothing,
        behaviour_log_std=nothing,
    )
    expected = [[True, True], [True, False], [True, True], [False, False]]
    assert trajectory.episode_continues.tolist() == expected


@given(st.integers(1, 7), st.integers(0, 10_000))
def test_batched_returns_are_the_loop_of_algorithm_3(length, seed):
    generator = torch.Generator().manual_seed(seed)
    rewards, q, v, next_v = torch.randn(4, length, 3, generator=generator, dtype=torch.float64)
    traces = torch.rand(length, 3, generator=generator, dtype=torch.float64)
    terminated, truncated = torch.rand(2, length, 3, generator=generator) < 0.25
    last = torch.arange(length).unsqueeze(1) == length - 1
    continues = ~(terminated | truncated | last)
    # inside an episode the successor of step t is the state of step t + 1
    next_v[:-1] = torch.where(continues[:-1], v[1:], next_v[:-1])
    result = off_policy_returns(rewards, 0.9 * (~terminated).double(), q, v, next_v, continues, traces)
    for b in range(3):
        chain = [x[:, b].tolist() for x in (rewards, terminated, truncated, q, v, next_v, traces)]
        expected = torch.tensor(reference.returns(*chain, gamma=0.9), dtype=torch.float64)
        torch.testing.assert_close(result[:, b], expected, rtol=1e-12, atol=1e-12)


def test_with_q_and_v_zero_it_is_the_k_step_return():
    zeros = (0.0, 0.0, 0.0)
    result = off_policy_returns(
        column(*REWARDS),
        column(GAMMA, GAMMA, GAMMA),
        column(*zeros),
        column(*zeros),
        column(0.0, 0.0, 9.0),
        torch.tensor([[True], [True], [False]]),
        column(1.0, 1.0, 1.0),
    )
    g2 = 4.0 + 0.5 * 9.0
    torch.testing.assert_close(result, column(1.0 + 0.5 * (2.0 + 0.5 * g2), 2.0 + 0.5 * g2, g2))


def test_trace_zero_is_the_one_step_return():
    expected = column(1.0 + 0.5 * 5.0, 2.0 + 0.5 * 7.0, 4.0 + 0.5 * 9.0)
    torch.testing.assert_close(chain_returns([True, True, False], traces=(0.0, 0.0, 0.0)), expected)


@pytest.mark.parametrize("lambda_", [0.0, 0.3, 0.95, 1.0])
def test_retrace_on_policy_is_the_td_lambda_return(lambda_):
    generator = torch.Generator().manual_seed(0)
    rewards, v = torch.randn(2, 8, 1, generator=generator, dtype=torch.float64)
    bootstrap = torch.randn(1, 1, generator=generator, dtype=torch.float64)
    next_v = torch.cat([v[1:], bootstrap])
    log_rho = torch.zeros(8, 1, dtype=torch.float64)
    traces = trace_coefficients(log_rho, action_dim=3, lambda_=lambda_)
    continues = torch.arange(8).unsqueeze(1) < 7
    result = off_policy_returns(rewards, torch.full_like(v, 0.9), v, v, next_v, continues, traces)

    # TD(lambda) by its definition: n-step returns weighed (1 - lambda) lambda^(n-1), the rest on the longest
    for t in range(8):
        horizon = 8 - t
        total = 0.0
        for n in range(1, horizon + 1):
            n_step = sum(0.9**i * rewards[t + i].item() for i in range(n)) + 0.9**n * next_v[t + n - 1].item()
            weight = lambda_ ** (n - 1) * (1 - lambda_ if n < horizon else 1.0)
            total += weight * n_step
        assert result[t].item() == pytest.approx(total, rel=1e-12)


def test_on_policy_retrace_is_qopc_and_off_policy_it_is_not():
    continues = [True, True, False]
    on_policy = trace_coefficients(torch.zeros(3, 1, dtype=torch.float64), action_dim=2).squeeze(1).tolist()
    qopc = chain_returns(continues, traces=(1.0, 1.0, 1.0))
    torch.testing.assert_close(chain_returns(continues, traces=on_policy), qopc)
    assert (chain_returns(continues) - qopc)[:2].abs().min() > 1.0


def test_trap_2_the_trace_is_rho_to_the_power_of_one_over_d():
    """Trap 2: the trace is rho^(1/d), and the exponent is an option."""
    log_rho = torch.log(torch.tensor([[1.0 / 16.0, 16.0], [1.0, 1.0 / 81.0]], dtype=torch.float64))
    expected = torch.tensor([[0.5, 1.0], [1.0, 1.0 / 3.0]], dtype=torch.float64)
    torch.testing.assert_close(trace_coefficients(log_rho, action_dim=4), expected)
    # rho^d would give 1.5e-5 in the first place, rho^(1/sqrt d) a quarter
    assert trace_coefficients(log_rho, action_dim=4)[0, 0].item() == pytest.approx(0.5)


def test_trap_2_the_exponent_and_lambda_are_options():
    """Trap 2: the trace is rho^(1/d), and the exponent is an option."""
    log_rho = torch.log(torch.tensor([[1.0 / 16.0, 4.0]], dtype=torch.float64))
    result = trace_coefficients(log_rho, action_dim=4, exponent=0.5, lambda_=0.8)
    torch.testing.assert_close(result, torch.tensor([[0.2, 0.8]], dtype=torch.float64))


def test_trap_1_one_ratio_per_state_and_never_one_for_the_batch():
    """Trap 1: the ratio is joint over the joints, and one per state."""
    log_prob, behaviour = torch.tensor([[0.0, -1.0], [-3.0, 0.5]]), torch.tensor([[0.5, -1.0], [-2.0, -1.0]])
    log_rho = importance_log_ratio(log_prob, behaviour)
    torch.testing.assert_close(log_rho, torch.tensor([[-0.5, 0.0], [-1.0, 1.5]]))
    traces = trace_coefficients(log_rho, action_dim=2)
    torch.testing.assert_close(traces, torch.tensor([[-0.25, 0.0], [-0.5, 0.0]]).exp())


def test_trap_14_log_ratio_is_clamped():
    """Trap 14: the log ratio is clamped before exp."""
    huge = torch.tensor([[1e4, -1e4]])
    log_rho = importance_log_ratio(huge, torch.zeros_like(huge))
    ones = torch.ones_like(huge)
    assert torch.isfinite(log_rho.exp()).all()
    assert torch.isfinite((-log_rho).exp().square()).all()
    assert trace_coefficients(log_rho, action_dim=1)[0, 0] == 1.0
    assert torch.isfinite(value_target(log_rho, 1e3 * ones, ones, ones)).all()


def test_clamping_leaves_ordinary_ratios_alone():
    log_prob = torch.linspace(-10.0, 10.0, 9).unsqueeze(1)
    torch.testing.assert_close(importance_log_ratio(log_prob, torch.zeros_like(log_prob)), log_prob)


def test_value_target_by_hand_is_truncated_at_one():
    log_rho = torch.log(column(0.25, 1.0, 4.0))
    # .25 (9 - 1) + 3 = 5;  1 (9 - 1) + 3 = 11;  min(1, 4) (9 - 1) + 3 = 11
    result = value_target(log_rho, column(9.0, 9.0, 9.0), column(1.0, 1.0, 1.0), column(3.0, 3.0, 3.0))
    torch.testing.assert_close(result, column(5.0, 11.0, 11.0))


def test_the_three_truncations_of_one_ratio_are_three_numbers():
    log_rho, one, zero = torch.log(column(4.0, 1.0 / 16.0)), column(1.0, 1.0), column(0.0, 0.0)
    target_weight = value_target(log_rho, one, zero, zero)
    torch.testing.assert_close(target_weight, column(1.0, 1.0 / 16.0))
    torch.testing.assert_close(trace_coefficients(log_rho, action_dim=2), column(1.0, 0.25))
    # the third, min(c, rho) of the policy gradient, is in test_policy_gradient.py


def test_trap_7_ratios_traces_returns_and_targets_are_constants():
    """Trap 7: weights, advantages and returns are constants."""
    x = torch.randn(3, 2, requires_grad=True)
    log_rho = importance_log_ratio(x, 2 * x)
    inside = torch.tensor([[True, True], [True, True], [False, False]])
    outputs = [
        log_rho,
        trace_coefficients(x, action_dim=2),
        off_policy_returns(x, x, x, x, x, inside, x),
        value_target(x, x, x, x),
    ]
    assert not any(output.requires_grad for output in outputs)


WIDE, NARROW = torch.zeros(4, 4), torch.zeros(4, 1)


@pytest.mark.parametrize("position", range(7))
def test_trap_8_returns_refuse_shapes_that_would_broadcast(position):
    """Trap 8: shapes that would broadcast are refused."""
    arguments = [WIDE, WIDE, WIDE, WIDE, WIDE, WIDE.bool(), WIDE]
    arguments[position] = arguments[position][:, :1]
    with pytest.raises(ValueError, match="equal shapes"):
        off_policy_returns(*arguments)


@pytest.mark.parametrize(
    "call",
    [
        lambda: importance_log_ratio(WIDE, NARROW),
        lambda: value_target(NARROW, WIDE, WIDE, WIDE),
        lambda: value_target(WIDE, WIDE, NARROW, WIDE),
        lambda: importance_log_ratio(torch.zeros(4, 1, 3), torch.zeros(4, 1)),
    ],
)
def test_trap_8_broadcasting_shapes_are_refused(call):
    """Trap 8: shapes that would broadcast are refused."""
    with pytest.raises(ValueError, match="equal shapes"):
        call()


def test_returns_refuse_anything_but_time_by_batch():
    flat = torch.zeros(3)
    with pytest.raises(ValueError, match=r"\[T, B\]"):
        off_policy_returns(flat, flat, flat, flat, flat, flat.bool(), flat)


def test_the_trace_refuses_an_action_dimension_below_one():
    with pytest.raises(ValueError, match="action_dim"):
        trace_coefficients(torch.zeros(1, 1), action_dim=0)


def test_a_segment_of_one_step_is_the_one_step_return():
    one = column(3.0)
    result = off_policy_returns(one, 0.5 * column(1.0), one, one, column(8.0), torch.tensor([[False]]), one)
    assert result.item() == 3.0 + 0.5 * 8.0
