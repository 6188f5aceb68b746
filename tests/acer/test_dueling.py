"""The stochastic dueling network: equation 13, what is differentiated, and its bias for small n."""

import pytest
import reference
import torch

from acer_robot.acer import stochastic_dueling_q, with_opposites


def test_equation_13_by_hand():
    # 2 + 5 - (1 + 2 + 6)/3 = 4;  -1 + 0.5 - (0 + 0 + 3)/3 = -1.5
    v, advantage = torch.tensor([2.0, -1.0]), torch.tensor([5.0, 0.5])
    sampled = torch.tensor([[1.0, 0.0], [2.0, 0.0], [6.0, 3.0]])
    torch.testing.assert_close(stochastic_dueling_q(v, advantage, sampled), torch.tensor([4.0, -1.5]))


def test_batched_equals_one_state_at_a_time():
    generator = torch.Generator().manual_seed(0)
    v, advantage = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    sampled = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)
    q = stochastic_dueling_q(v, advantage, sampled)
    for t in range(3):
        for b in range(4):
            expected = reference.dueling_q(v[t, b], advantage[t, b], list(sampled[:, t, b]))
            torch.testing.assert_close(q[t, b], expected)


def test_all_parts_of_q_are_differentiated():
    v, advantage = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    sampled = torch.zeros(4, 2, requires_grad=True)
    stochastic_dueling_q(v, advantage, sampled).sum().backward()
    torch.testing.assert_close(v.grad, torch.ones(2))
    torch.testing.assert_close(advantage.grad, torch.ones(2))
    torch.testing.assert_close(sampled.grad, torch.full((4, 2), -0.25))


def test_a_constant_added_to_the_advantage_head_changes_nothing():
    generator = torch.Generator().manual_seed(1)
    v, advantage = torch.randn(2, 6, generator=generator)
    sampled = torch.randn(5, 6, generator=generator)
    q = stochastic_dueling_q(v, advantage, sampled)
    torch.testing.assert_close(stochastic_dueling_q(v, advantage + 3.0, sampled + 3.0), q)


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_trap_13_few_samples_shrink_advantages(n):
    """Trap 13: The kappa for which kappa (A - mean A(u)) fits the true A best is n/(n + 1): a known bias."""
    generator = torch.Generator().manual_seed(2)
    draws = 200_000
    advantage = torch.randn(draws, generator=generator, dtype=torch.float64)  # A(a), a ~ pi
    sampled = torch.randn(n, draws, generator=generator, dtype=torch.float64)  # A(u_j), u_j ~ pi
    shape = stochastic_dueling_q(torch.zeros(draws, dtype=torch.float64), advantage, sampled)
    kappa = (shape * advantage).mean() / shape.square().mean()
    assert kappa.item() == pytest.approx(n / (n + 1), abs=0.01)


def test_trap_13_disjoint_samples_undo_the_shrinking():
    """Trap 13: With one set in the error and another in the derivative, the stationary point is the true advantage."""
    generator = torch.Generator().manual_seed(3)
    draws, n = 200_000, 2
    advantage = torch.randn(draws, generator=generator, dtype=torch.float64)
    zeros = torch.zeros(draws, dtype=torch.float64)
    first, second = (torch.randn(n, draws, generator=generator, dtype=torch.float64) for _ in range(2))
    in_error, in_derivative = (stochastic_dueling_q(zeros, advantage, sampled) for sampled in (first, second))
    kappa = (in_derivative * advantage).mean() / (in_derivative * in_error).mean()
    assert kappa.item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("advantage", "sampled"),
    [((4, 1), (5, 4, 4)), ((4, 4), (5, 4, 1)), ((4, 4), (5, 1, 4)), ((4, 4), (4, 4)), ((4, 4), (0, 4, 4))],
)
def test_trap_8_shapes_that_would_broadcast_are_refused(advantage, sampled):
    """Trap 8: shapes that would broadcast are refused."""
    with pytest.raises(ValueError, match="expected"):
        stochastic_dueling_q(torch.zeros(4, 4), torch.zeros(advantage), torch.zeros(sampled))


def test_opposites_leave_a_linear_advantage_as_it_is():
    """For A(u) = w u with the policy N(m, s^2): Q~ - V = w (a - m) without noise, and no shrinking (trap 13)."""
    generator = torch.Generator().manual_seed(4)
    mean, std, slope = torch.tensor([0.5, -2.0]), torch.tensor([0.3, 1.5]), torch.tensor([7.0, -3.0])
    sampled = slope * (mean + std * with_opposites(torch.randn(3, 2, generator=generator)))
    assert sampled.shape == (6, 2)
    action = torch.tensor([1.5, 4.0])
    q = stochastic_dueling_q(torch.tensor([10.0, 20.0]), slope * action, sampled)
    torch.testing.assert_close(q, torch.tensor([10.0 + 7.0 * 1.0, 20.0 - 3.0 * 6.0]))


def test_opposites_of_a_curved_advantage_have_the_mean_of_samples():
    """E u^2 = m^2 + s^2 with opposites as without."""
    generator = torch.Generator().manual_seed(5)
    u = 0.5 + 0.3 * with_opposites(torch.randn(1, 400_000, generator=generator, dtype=torch.float64))
    assert u.square().mean().item() == pytest.approx(0.25 + 0.09, abs=0.001)
