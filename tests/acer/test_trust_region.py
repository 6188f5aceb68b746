"""The projection: per state, one joint vector, |k|^2 below, k = 0 guarded, and what delta bounds."""

import math

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from acer_robot.acer import gaussian_kl, gaussian_kl_gradient, trust_region_projection


def random_rows(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dot(a, b):
    return (a * b).sum(-1)


def test_a_hand_worked_projection():
    # k.g = 10, |k|^2 = 5, delta = 5: z = g - (10 - 5)/5 k = (4, 2) - (2, 1) = (2, 1), and k.z = 5
    z = trust_region_projection(torch.tensor([4.0, 2.0]), torch.tensor([2.0, 1.0]), delta=5.0)
    torch.testing.assert_close(z, torch.tensor([2.0, 1.0]))


def test_where_the_constraint_is_slack_z_is_g():
    g, k = torch.tensor([[4.0, 2.0], [-4.0, 2.0]]), torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    torch.testing.assert_close(trust_region_projection(g, k, delta=10.0), g, rtol=0.0, atol=0.0)
    torch.testing.assert_close(trust_region_projection(-g.abs(), k, delta=0.0), -g.abs(), rtol=0.0, atol=0.0)


@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_every_row_keeps_the_bound_and_is_equation_12(seed, delta):
    g, k = random_rows(2, 3, 5, 4, seed=seed)
    z = trust_region_projection(g, k, delta)
    assert (dot(k, z) <= delta + 1e-12).all()
    for t in range(3):
        for b in range(5):
            torch.testing.assert_close(z[t, b], reference.project(g[t, b], k[t, b], delta))


def test_trap_3_each_row_is_projected_by_itself():
    """Trap 3: each row is projected by itself, and averaged afterwards."""
    g, k = 3 * random_rows(2, 4, 6, seed=0)
    z = trust_region_projection(g, k, delta=0.5)
    torch.testing.assert_close(
        trust_region_projection(g.repeat(8, 1), k.repeat(8, 1), delta=0.5), z.repeat(8, 1)
    )
    for row in range(4):
        alone = slice(row, row + 1)
        torch.testing.assert_close(trust_region_projection(g[alone], k[alone], delta=0.5), z[alone])
    averaged_first = trust_region_projection(g.mean(0), k.mean(0), delta=0.5)
    assert (z.mean(0) - averaged_first).abs().max() > 0.1


def test_trap_4_mean_and_std_are_one_joint_vector():
    """Trap 4: mean and std are projected as one joint vector."""
    # mean up, std down: k.g = 0 and nothing is lost; projected apart, the mean's half would lose all of its 2
    g, k = torch.tensor([2.0, -2.0]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(trust_region_projection(g, k, delta=0.0), g)
    # each half keeps to delta = 1 by itself, together they make 1.6: z = g - (1.6 - 1)/2 k
    g = torch.tensor([0.8, 0.8])
    torch.testing.assert_close(trust_region_projection(g, k, delta=1.0), torch.tensor([0.5, 0.5]))


def test_trap_5_the_denominator_is_the_squared_norm_of_k():
    """Trap 5: k is the gradient of KL[average || current], the denominator is |k|^2, and k = 0 is guarded."""
    g, k = torch.tensor([10.0, 0.0]), torch.tensor([2.0, 0.0])
    # |k|^2 = 4: z = 10 - (20 - 1)/4 * 2 = .5;  with |g|^2 = 100 it would be 9.62
    torch.testing.assert_close(trust_region_projection(g, k, delta=1.0), torch.tensor([0.5, 0.0]))


@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_trap_5_without_distance_k_is_zero_and_z_is_g(delta):
    """Trap 5: k is the gradient of KL[average || current], the denominator is |k|^2, and k = 0 is guarded."""
    g = random_rows(5, 3, seed=1)
    torch.testing.assert_close(trust_region_projection(g, torch.zeros_like(g), delta), g, rtol=0.0, atol=0.0)


def test_trap_5_projection_lowers_the_rate_of_the_right_kl():
    """Trap 5: k is the gradient of KL[average || current], the denominator is |k|^2, and k = 0 is guarded."""
    average = (torch.zeros(1, 1).double(), torch.zeros(1, 1).double())
    current = (torch.full((1, 1), 0.5).double(), torch.full((1, 1), -1.0).double())
    k = torch.cat(gaussian_kl_gradient(*average, *current), -1)
    z = trust_region_projection(10 * k, k, delta=0.25)
    eps = 1e-6
    moved = (current[0] + eps * z[:, :1], current[1] + eps * z[:, 1:])
    rate = (gaussian_kl(*average, *moved) - gaussian_kl(*average, *current)) / eps
    reverse = (gaussian_kl(*moved, *average) - gaussian_kl(*current, *average)) / eps
    assert rate.item() == pytest.approx(0.25, rel=1e-3)
    assert abs(reverse.item() - 0.25) > 0.05


def test_trap_11_a_fixed_std_makes_phi_the_mean_alone():
    """Trap 11: with a fixed std phi is the mean alone."""
    mean_avg, mean = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.09, 0.0]])
    log_std = torch.full_like(mean, math.log(0.3))
    k_mean, _ = gaussian_kl_gradient(mean_avg, log_std, mean, log_std)
    torch.testing.assert_close(k_mean, torch.tensor([[1.0, 0.0]]))
    z = trust_region_projection(torch.tensor([[5.0, 7.0]]), k_mean, delta=0.1)
    torch.testing.assert_close(z, torch.tensor([[0.1, 7.0]]))


def test_trap_12_delta_bounds_a_rate_and_not_a_kl():
    """Trap 12: delta bounds the first-order rate of the KL and depends on the reward scale."""
    # One long step of size 1 along z: its first-order KL is delta, its true KL is not.
    average, current = (
        (torch.zeros(1, 2).double(),) * 2,
        (torch.ones(1, 2).double(), torch.zeros(1, 2).double()),
    )
    k = torch.cat(gaussian_kl_gradient(*average, *current), -1)
    across = torch.tensor([[3.0, -3.0, 0.0, 0.0]], dtype=torch.float64)  # k . across = 0: free, however long
    z = trust_region_projection(across, k, delta=0.1)
    torch.testing.assert_close(z, across)
    moved = (current[0] + z[:, :2], current[1] + z[:, 2:])
    assert (gaussian_kl(*average, *moved) - gaussian_kl(*average, *current)).item() > 5.0


def test_trap_12_delta_depends_on_the_scale_of_the_rewards():
    """Trap 12: delta bounds the first-order rate of the KL and depends on the reward scale."""
    g, k = torch.tensor([[0.4, 0.0]]), torch.tensor([[1.0, 0.0]])
    unprojected = trust_region_projection(g, k, delta=1.0)
    torch.testing.assert_close(unprojected, g)  # slack
    scaled = trust_region_projection(100 * g, k, delta=1.0)  # the same task with rewards in other units
    torch.testing.assert_close(scaled, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(trust_region_projection(100 * g, k, delta=100.0), 100 * unprojected)


def test_trap_7_z_is_a_constant():
    """Trap 7: weights, advantages and returns are constants."""
    g, k = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    assert not trust_region_projection(g, k, delta=1.0).requires_grad


def test_trap_8_shapes_that_would_broadcast_are_refused():
    """Trap 8: shapes that would broadcast are refused."""
    with pytest.raises(ValueError, match="equal shapes"):
        trust_region_projection(torch.zeros(4, 4), torch.zeros(4, 1), delta=1.0)


@pytest.mark.parametrize("delta", [-0.1, math.nan])
def test_a_negative_or_undefined_delta_is_refused(delta):
    with pytest.raises(ValueError, match="delta"):
        trust_region_projection(torch.zeros(2), torch.zeros(2), delta)
