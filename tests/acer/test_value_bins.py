"""Values as distributions over bins, against torch.distributions and automatic differentiation."""

import pytest
import torch
from torch.distributions import Normal

from acer_robot.acer import cross_entropy, expected_value, expected_value_gradient, gaussian_bins

CENTERS = torch.linspace(-10.0, 10.0, 101, dtype=torch.float64)
SIGMA = 0.15


def test_bins_hold_the_share_of_a_gaussian():
    values = torch.tensor([-3.21, 0.0, 4.07], dtype=torch.float64)
    edges = torch.linspace(-10.1, 10.1, 102, dtype=torch.float64)
    below = Normal(values.unsqueeze(-1), SIGMA).cdf(edges)
    found = gaussian_bins(values, CENTERS, SIGMA)
    torch.testing.assert_close(found, below[..., 1:] - below[..., :-1], rtol=0.0, atol=1e-9)
    torch.testing.assert_close((found * CENTERS).sum(-1), values, rtol=0.0, atol=1e-3)


def test_values_beyond_the_last_centre_count_as_it():
    found = gaussian_bins(torch.tensor([-30.0, -10.0, 10.0, 1e9], dtype=torch.float64), CENTERS, SIGMA)
    torch.testing.assert_close(found.sum(-1), torch.ones(4, dtype=torch.float64))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])
    assert float(found[0, 0]) > 0.5


def test_value_of_logits_and_its_gradient():
    logits = torch.randn(5, 3, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    value = expected_value(logits, CENTERS)
    assert value.shape == (5, 3)
    (expected,) = torch.autograd.grad(value.sum(), logits)
    found = expected_value_gradient(logits, CENTERS)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)
    assert not found.requires_grad


def test_cross_entropy_is_least_where_the_logits_are_right():
    target = gaussian_bins(torch.tensor([2.5], dtype=torch.float64), CENTERS, SIGMA).clamp_min(1e-30)
    logits = target.log().requires_grad_()
    loss = cross_entropy(logits, target)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0.0, atol=1e-12)
    entropy = torch.distributions.Categorical(probs=target).entropy()
    torch.testing.assert_close(loss, entropy, rtol=0.0, atol=1e-9)
    assert float(cross_entropy(logits.detach().roll(1, -1), target)) > float(loss.detach())


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="expected logits of 101 bins"):
        expected_value(torch.zeros(3, 100), CENTERS)
    with pytest.raises(ValueError, match="expected logits of 101 bins"):
        expected_value_gradient(torch.zeros(3, 100), CENTERS)
    with pytest.raises(ValueError, match="shape"):
        cross_entropy(torch.zeros(3, 100), torch.zeros(3, 101))
    for centers, sigma in ((CENTERS[:1], 0.1), (CENTERS, 0.0), (CENTERS, float("nan"))):
        with pytest.raises(ValueError, match="two bins or more and sigma > 0"):
            gaussian_bins(torch.zeros(3), centers, sigma)
