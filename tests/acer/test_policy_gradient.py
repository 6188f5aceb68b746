"""The policy gradient in phi: truncation at c, the correction beyond it, one row per state."""

import math

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from acer_robot.acer import correction_slope, importance_log_ratio, truncated_policy_gradient


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def gradient(rho, rho_sampled, truncation):
    """g of a single state: advantages 3 and 7, scores (1, -2) and (10, 30)."""
    return truncated_policy_gradient(
        phi_gradient_replayed=rows([1.0, -2.0]),
        phi_gradient_sampled=rows([10.0, 30.0]),
        log_rho=rows(rho).log(),
        log_rho_sampled=rows(rho_sampled).log(),
        advantage_replayed=rows(3.0),
        advantage_sampled=rows(7.0),
        truncation=truncation,
    )[0].tolist()


def test_below_c_the_whole_ratio_counts_and_nothing_is_corrected():
    # min(5, 4) * 3 * (1, -2); rho' = 2 <= 5 gives no correction
    assert gradient(rho=4.0, rho_sampled=2.0, truncation=5.0) == pytest.approx([12.0, -24.0])


def test_ratio_is_truncated_above_c_by_hand():
    # min(5, 8) * 3 * (1, -2) = (15, -30);  [1 - 5/20] * 7 * (10, 30) = (52.5, 157.5)
    assert gradient(rho=8.0, rho_sampled=20.0, truncation=5.0) == pytest.approx([67.5, 127.5])


def test_the_two_terms_take_each_its_own_ratio():
    # rho above c does not switch the correction on, rho' above c does not touch the first term
    assert gradient(rho=8.0, rho_sampled=2.0, truncation=5.0) == pytest.approx([15.0, -30.0])
    assert gradient(rho=1.0, rho_sampled=10.0, truncation=5.0) == pytest.approx([3.0 + 35.0, -6.0 + 105.0])


def test_c_zero_leaves_the_sampled_term_alone():
    assert gradient(rho=4.0, rho_sampled=0.01, truncation=0.0) == pytest.approx([70.0, 210.0])


def test_c_infinite_leaves_the_replayed_term_alone():
    assert gradient(rho=40.0, rho_sampled=1e6, truncation=math.inf) == pytest.approx([120.0, -240.0])


def test_on_policy_nothing_is_truncated_and_nothing_corrected():
    for c in (1.0, 5.0, math.inf):
        assert gradient(rho=1.0, rho_sampled=1.0, truncation=c) == pytest.approx([3.0, -6.0])


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0, 5.0]))
def test_every_row_is_equation_15_of_its_own_state(seed, c):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    score, score_sampled = draw(3, 2, 4), draw(3, 2, 4)
    log_rho, log_rho_sampled, advantage, advantage_sampled = (
        2 * draw(3, 2),
        2 * draw(3, 2),
        draw(3, 2),
        draw(3, 2),
    )
    g = truncated_policy_gradient(
        score, score_sampled, log_rho, log_rho_sampled, advantage, advantage_sampled, truncation=c
    )
    for t in range(3):
        for b in range(2):
            expected = reference.policy_gradient(
                log_rho[t, b].exp().item(),
                log_rho_sampled[t, b].exp().item(),
                score[t, b],
                score_sampled[t, b],
                advantage[t, b].item(),
                advantage_sampled[t, b].item(),
                c,
            )
            torch.testing.assert_close(g[t, b], expected)


def test_trap_7_weight_advantage_and_score_are_constants():
    """Trap 7: weights, advantages and returns are constants."""
    x = torch.randn(2, 3, requires_grad=True)
    score = torch.randn(2, 3, 4, requires_grad=True)
    assert not truncated_policy_gradient(score, score, x, x, x, x, truncation=5.0).requires_grad


@pytest.mark.parametrize("extreme", [1e4, -1e4])
@pytest.mark.parametrize("c", [0.0, 1.0, 5.0, math.inf])
def test_trap_14_extreme_ratios_give_a_finite_gradient(extreme, c):
    """Trap 14: the log ratio is clamped before exp."""
    log_rho = importance_log_ratio(torch.tensor([[extreme]]), torch.tensor([[0.0]]))
    one = torch.ones(1, 1)
    g = truncated_policy_gradient(torch.ones(1, 1, 2), torch.ones(1, 1, 2), log_rho, log_rho, one, one, c)
    assert torch.isfinite(g).all()


def test_trap_14_vanishing_ratio_has_no_correction():
    """Trap 14: the log ratio is clamped before exp."""
    assert gradient(rho=1.0, rho_sampled=math.exp(-20.0), truncation=5.0) == pytest.approx([3.0, -6.0])


@pytest.mark.parametrize("position", range(6))
def test_trap_8_shapes_that_would_broadcast_are_refused(position):
    """Trap 8: shapes that would broadcast are refused."""
    scalar, vector = torch.zeros(4, 4), torch.zeros(4, 4, 2)
    arguments = [vector, vector, scalar, scalar, scalar, scalar]
    arguments[position] = arguments[position][:, :1]
    with pytest.raises(ValueError, match="expected"):
        truncated_policy_gradient(*arguments, truncation=5.0)


def test_trap_8_a_score_without_its_own_axis_is_refused():
    """Trap 8: shapes that would broadcast are refused."""
    scalar = torch.zeros(4, 4)
    with pytest.raises(ValueError, match="one more axis"):
        truncated_policy_gradient(scalar, scalar, scalar, scalar, scalar, scalar, truncation=5.0)


@pytest.mark.parametrize("c", [-1.0, math.nan])
def test_a_negative_or_undefined_truncation_is_refused(c):
    with pytest.raises(ValueError, match="truncation"):
        gradient(rho=1.0, rho_sampled=1.0, truncation=c)


def slope(rho_sampled, truncation):
    """The slope of a single state: Q~ rises by (1, -2) and log rho' by (10, 30), advantage 7."""
    return correction_slope(
        rows([1.0, -2.0]), rows([10.0, 30.0]), rows(rho_sampled).log(), rows(7.0), truncation
    )[0].tolist()


def test_the_slope_of_the_correction_by_hand():
    # [1 - 5/20] (1, -2) = (0.75, -1.5);  7 * 5/20 * (10, 30) = (17.5, 52.5)
    assert slope(rho_sampled=20.0, truncation=5.0) == pytest.approx([18.25, 51.0])


def test_slope_is_zero_up_to_c():
    assert slope(rho_sampled=2.0, truncation=5.0) == [0.0, 0.0]
    assert slope(rho_sampled=1e-8, truncation=0.0) == [1.0, -2.0]


@pytest.mark.parametrize("truncation", [-1.0, math.inf, math.nan])
def test_a_slope_needs_a_finite_truncation(truncation):
    with pytest.raises(ValueError, match="finite truncation c >= 0"):
        slope(2.0, truncation)


def test_the_slope_of_misshapen_arguments_is_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        correction_slope(rows([1.0]), rows([1.0, 2.0]), rows(1.0), rows(1.0), 1.0)
    with pytest.raises(ValueError, match="one more axis"):
        correction_slope(rows(1.0), rows(1.0), rows(1.0), rows(1.0), 1.0)
