"""Diagonal Gaussians: joint over the joints, gradients in the statistics, KL[average || current] that way."""

import math

import pytest
import torch
from reference import gradient_in_phi, kl_divergence, log_density
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as torch_kl

from acer_robot.acer import gaussian_kl, gaussian_kl_gradient, gaussian_log_prob, gaussian_log_prob_gradient


def random_statistics(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return mean, 0.4 * torch.randn(*shape, generator=generator, dtype=torch.float64) - 0.5


def test_log_prob_of_a_hand_worked_point():
    x, mean, log_std = (
        torch.tensor([3.0, -1.0]),
        torch.tensor([1.0, -1.0]),
        torch.tensor([math.log(2.0), 0.0]),
    )
    # joint 1 is one standard deviation off with s = 2, joint 2 sits on its mean with s = 1
    expected = (-0.5 - math.log(2.0)) + 0.0 - 2 * 0.5 * math.log(2 * math.pi)
    assert gaussian_log_prob(x, mean, log_std).item() == pytest.approx(expected)


def test_trap_1_density_is_one_scalar_per_state():
    """Trap 1: the ratio is joint over the joints, and one per state."""
    mean, log_std = random_statistics(3, 2, 4, seed=0)
    x, _ = random_statistics(3, 2, 4, seed=1)
    result = gaussian_log_prob(x, mean, log_std)
    assert result.shape == (3, 2)
    torch.testing.assert_close(result, Independent(Normal(mean, log_std.exp()), 1).log_prob(x))


def test_log_prob_gradient_is_that_of_autograd():
    mean, log_std = random_statistics(5, seed=2)
    x, _ = random_statistics(5, seed=3)
    expected = gradient_in_phi(lambda phi: log_density(x, phi), (mean, log_std), learned_std=True)
    torch.testing.assert_close(torch.cat(gaussian_log_prob_gradient(x, mean, log_std)), expected)


def test_kl_is_that_of_torch_distributions_and_not_symmetric():
    p, q = random_statistics(6, 3, seed=4), random_statistics(6, 3, seed=5)
    expected = torch_kl(Independent(Normal(p[0], p[1].exp()), 1), Independent(Normal(q[0], q[1].exp()), 1))
    torch.testing.assert_close(gaussian_kl(*p, *q), expected)
    assert (gaussian_kl(*q, *p) - expected).abs().min() > 1e-3


def test_trap_5_k_is_the_gradient_of_kl_from_the_average():
    """Trap 5: k is the gradient of KL[average || current], the denominator is |k|^2, and k = 0 is guarded."""
    average, current = random_statistics(4, seed=6), random_statistics(4, seed=7)
    k = torch.cat(gaussian_kl_gradient(*average, *current))
    expected = gradient_in_phi(lambda phi: kl_divergence(average, phi), current, learned_std=True)
    reversed_kl = gradient_in_phi(lambda phi: kl_divergence(phi, average), current, learned_std=True)
    torch.testing.assert_close(k, expected)
    assert (k - reversed_kl).abs().max() > 0.1


def test_k_is_zero_where_the_policies_agree():
    phi = random_statistics(7, 3, seed=8)
    assert torch.cat(gaussian_kl_gradient(*phi, *phi)).abs().max() == 0.0


def test_kl_keeps_its_digits_for_policies_that_nearly_agree():
    mean, log_std = torch.zeros(1), torch.zeros(1)
    step = 1e-4  # KL = log_ratio^2 to first order; computed as s^2/2 - 1/2 - log s it would be rounding noise
    assert gaussian_kl(mean, log_std + step, mean, log_std).item() == pytest.approx(step**2, rel=1e-3)


@pytest.mark.parametrize("log_std", [-10.0, 2.0])
@pytest.mark.parametrize("distance", [0.0, 100.0])
def test_trap_14_degenerate_densities_give_no_nan(log_std, distance):
    """Trap 14: the log ratio is clamped before exp."""
    x, mean, s = torch.full((3,), distance), torch.zeros(3), torch.full((3,), log_std)
    other = torch.full((3,), -log_std)
    results = [
        gaussian_log_prob(x, mean, s),
        *gaussian_log_prob_gradient(x, mean, s),
        gaussian_kl(mean, s, x, other),
        *gaussian_kl_gradient(mean, other, x, s),
    ]
    assert all(torch.isfinite(result).all() for result in results)


def test_trap_7_the_gradients_in_phi_are_constants():
    """Trap 7: weights, advantages and returns are constants."""
    mean, log_std = (t.requires_grad_() for t in random_statistics(3, seed=9))
    average = random_statistics(3, seed=10)
    x = torch.ones(3, dtype=torch.float64)
    outputs = (*gaussian_log_prob_gradient(x, mean, log_std), *gaussian_kl_gradient(*average, mean, log_std))
    assert not any(output.requires_grad for output in outputs)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: gaussian_log_prob(a, a, b),
        lambda a, b: gaussian_log_prob(b, a, a),
        lambda a, b: gaussian_log_prob_gradient(a, b, a),
        lambda a, b: gaussian_kl(a, a, b, a),
        lambda a, b: gaussian_kl_gradient(a, b, a, a),
    ],
)
def test_trap_8_shapes_that_would_broadcast_are_refused(call):
    """Trap 8: shapes that would broadcast are refused."""
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(4, 1\)|\(4, 1\).*\(4, 2\)"):
        call(torch.zeros(4, 2), torch.zeros(4, 1))
