"""What must hold in expectation or for every input: no bias at any c, dueling baseline, projection."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acer_robot.acer import (
    correction_slope,
    gaussian_kl,
    gaussian_kl_gradient,
    gaussian_log_prob,
    gaussian_log_prob_gradient,
    importance_log_ratio,
    off_policy_returns,
    stochastic_dueling_q,
    truncated_policy_gradient,
    trust_region_projection,
)

SAMPLES = 400_000
STANDARD_ERRORS = (
    4.5  # two-sided, about 7e-6 for a normal mean: no false alarm, and the seeds are fixed anyway
)

# One state of one joint: pi is off mu's centre and narrower; ratios lie on both sides of every c below.
PI = (torch.tensor([0.3], dtype=torch.float64), torch.tensor([math.log(0.5)], dtype=torch.float64))
MU = (torch.tensor([0.0], dtype=torch.float64), torch.tensor([math.log(0.8)], dtype=torch.float64))
GRID = torch.linspace(-8.0, 8.0, 40_001, dtype=torch.float64).unsqueeze(-1)


def action_value(action):
    return torch.sin(2.0 * action[..., 0]) + 0.5 * action[..., 0]


def density(action, phi):
    mean, log_std = (part.expand_as(action) for part in phi)
    return gaussian_log_prob(action, mean, log_std).exp()


def integral(values):
    """Trapezoidal rule over the grid, over which `values` [G, ..] are given; they vanish at its ends."""
    return values.sum(0) * (GRID[1, 0] - GRID[0, 0])


def expected_value(phi):
    return integral(density(GRID, phi) * action_value(GRID))


def true_gradient():
    """d E_pi Q / d phi by central differences of the integral: no score function, no importance ratio."""
    eps = 1e-5
    columns = []
    for part in range(2):
        up, down = list(PI), list(PI)
        up[part], down[part] = up[part] + eps, down[part] - eps
        columns.append((expected_value(up) - expected_value(down)) / (2 * eps))
    return torch.stack(columns)


def sample(phi, count, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 1, phi[0].shape[0], generator=generator, dtype=torch.float64)
    return phi[0] + phi[1].exp() * noise


def log_ratio(action, pi, mu):
    log_pi, log_mu = (
        gaussian_log_prob(action, *(part.expand_as(action) for part in phi)) for phi in (pi, mu)
    )
    return importance_log_ratio(log_pi, log_mu)


def score(action, phi):
    return torch.cat(gaussian_log_prob_gradient(action, *(part.expand_as(action) for part in phi)), dim=-1)


def gradient_samples(c, q=action_value, v=None, pi=PI, mu=MU, correction=True):
    """SAMPLES independent draws of g [SAMPLES, P], with a perfect critic."""
    replayed, sampled = sample(mu, SAMPLES, seed=0), sample(pi, SAMPLES, seed=1)
    value = expected_value(PI) if v is None else v
    advantage_sampled = q(sampled) - value
    return truncated_policy_gradient(
        score(replayed, pi),
        score(sampled, pi),
        log_ratio(replayed, pi, mu),
        log_ratio(sampled, pi, mu),
        q(replayed) - value,
        advantage_sampled if correction else torch.zeros_like(advantage_sampled),
        truncation=c,
    )[:, 0]


def pathwise_samples(c, mu=MU):
    """The same with the correction by its slope in the fresh action: the first term as above, the second along a'."""
    first = gradient_samples(c, mu=mu, correction=False)
    u = sample(PI, SAMPLES, seed=1).requires_grad_()
    ratio = log_ratio_with_graph(u, mu)
    slopes = [torch.autograd.grad(part.sum(), u)[0] for part in (action_value(u), ratio)]
    u, ratio = u.detach(), ratio.detach()
    slope = correction_slope(*slopes, ratio, action_value(u) - expected_value(PI), c)
    return first + torch.cat([slope, slope * (u - PI[0])], dim=-1)[:, 0]


def log_ratio_with_graph(u, mu):
    log_pi, log_mu = (gaussian_log_prob(u, *(part.expand_as(u) for part in phi)) for phi in (PI, mu))
    return log_pi - log_mu


def standard_error_of_mean(samples):
    return samples.std(0) / math.sqrt(len(samples))


def standard_error_of_variance(samples):
    centred = samples - samples.mean(0)
    return ((centred**4).mean(0) - samples.var(0) ** 2).sqrt() / math.sqrt(len(samples))


def exact_variance(c):
    """Var g of eq. 15 by quadrature: the two terms are independent, so their variances add."""
    pi, mu = density(GRID, PI), density(GRID, MU)
    ratio = pi / mu
    mean, std = PI[0].item(), PI[1].exp().item()
    standardised = (GRID - mean) / std
    weighted = torch.cat([standardised / std, standardised**2 - 1.0], dim=-1)
    weighted = weighted * (action_value(GRID) - expected_value(PI)).unsqueeze(-1)
    replayed = ratio.clamp(max=c).unsqueeze(-1) * weighted
    sampled = (
        (1.0 - c / ratio).clamp(min=0.0).unsqueeze(-1) * weighted if math.isfinite(c) else 0.0 * weighted
    )
    total = 0.0
    for term, weight in ((replayed, mu.unsqueeze(-1)), (sampled, pi.unsqueeze(-1))):
        total = total + integral(weight * term**2) - integral(weight * term) ** 2
    return total


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0, math.inf])
def test_the_policy_gradient_is_unbiased_at_every_c(c):
    g = gradient_samples(c)
    deviation = (g.mean(0) - true_gradient()).abs()
    assert (deviation < STANDARD_ERRORS * standard_error_of_mean(g)).all()
    # the tolerance is tight: a gradient wrong by a twentieth would fail
    assert (STANDARD_ERRORS * standard_error_of_mean(g) < 0.05 * true_gradient().abs().max()).all()


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0, 1.5])
def test_the_correction_along_the_path_is_unbiased_too(c):
    g = pathwise_samples(c)
    deviation = (g.mean(0) - true_gradient()).abs()
    assert (deviation < STANDARD_ERRORS * standard_error_of_mean(g)).all()
    assert (STANDARD_ERRORS * standard_error_of_mean(g) < 0.05 * true_gradient().abs().max()).all()


def test_path_varies_less_than_the_score():
    assert 1.5 * pathwise_samples(0.0).var(0).sum() < gradient_samples(0.0).var(0).sum()


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0, math.inf])
def test_policy_gradient_has_the_variance_of_equation_15(c):
    g = gradient_samples(c)
    deviation = (g.var(0) - exact_variance(c)).abs()
    assert (deviation < STANDARD_ERRORS * standard_error_of_variance(g)).all()
    assert (STANDARD_ERRORS * standard_error_of_variance(g) < 0.05 * exact_variance(c)).all()


def test_without_the_correction_truncation_biases_the_gradient():
    g = gradient_samples(0.5, correction=False)
    deviation = (g.mean(0) - true_gradient()).abs()
    assert (deviation > 10 * standard_error_of_mean(g)).any()


def test_truncation_bounds_the_variance():
    far = (torch.tensor([-1.2], dtype=torch.float64), MU[1])
    variance = {c: gradient_samples(c, mu=far).var(0).sum().item() for c in (1.0, math.inf)}
    assert variance[math.inf] > 5 * variance[1.0]


@pytest.mark.parametrize("c", [0.0, 1.0, math.inf])
def test_joint_ratio_is_unbiased_in_three_joints(c):
    pi = (torch.tensor([0.3, -0.2, 0.5]).double(), torch.tensor([0.5, 0.6, 0.5]).double().log())
    mu = (torch.zeros(3).double(), torch.full((3,), 0.8).double().log())

    def q(a):
        return a[..., 0] * a[..., 1] + 2.0 * a[..., 2]

    # E q = m0 m1 + 2 m2, so its derivatives are m1, m0, 2 in the means and 0 in the log stds
    truth = torch.tensor([-0.2, 0.3, 2.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    g = gradient_samples(c, q=q, v=0.3 * -0.2 + 2.0 * 0.5, pi=pi, mu=mu)
    assert ((g.mean(0) - truth).abs() < STANDARD_ERRORS * standard_error_of_mean(g)).all()


@pytest.mark.parametrize("n", [1, 5])
def test_dueling_estimate_averages_to_v(n):
    v = 0.7
    advantage = (
        action_value(sample(PI, SAMPLES, seed=2))[:, 0] + 3.0
    )  # an offset that the baseline must remove
    sampled = torch.stack([action_value(sample(PI, SAMPLES, seed=10 + j))[:, 0] + 3.0 for j in range(n)])
    q = stochastic_dueling_q(torch.full_like(advantage, v), advantage, sampled)
    assert abs(q.mean().item() - v) < STANDARD_ERRORS * standard_error_of_mean(q).item()


def test_dueling_error_falls_as_one_over_n():
    v, rows = torch.zeros(20_000, dtype=torch.float64), 20_000
    advantage = torch.full((rows,), 1.5, dtype=torch.float64)
    truth = 1.5 - expected_value(PI)
    spread = integral(density(GRID, PI) * (action_value(GRID) - expected_value(PI)) ** 2)
    for n in (1, 4, 16, 64):
        sampled = torch.stack([action_value(sample(PI, rows, seed=100 + j))[:, 0] for j in range(n)])
        error = stochastic_dueling_q(v, advantage, sampled) - truth
        tolerance = STANDARD_ERRORS * standard_error_of_variance(error).item()
        assert abs(error.var().item() - spread.item() / n) < tolerance


@given(st.integers(1, 9), st.integers(0, 10_000))
def test_perfect_critic_is_a_fixed_point(length, seed):
    generator = torch.Generator().manual_seed(seed)
    rewards, v, last = torch.randn(3, length, 2, generator=generator, dtype=torch.float64)
    traces = torch.rand(length, 2, generator=generator, dtype=torch.float64)
    terminated = torch.rand(length, 2, generator=generator) < 0.3
    discounts = 0.9 * (~terminated).double()
    next_v = torch.cat([v[1:], last[:1]])
    q = rewards + discounts * next_v
    continues = ~terminated & (torch.arange(length).unsqueeze(1) < length - 1)
    torch.testing.assert_close(off_policy_returns(rewards, discounts, q, v, next_v, continues, traces), q)


def vectors(seed):
    generator = torch.Generator().manual_seed(seed)
    g, k = 3.0 * torch.randn(2, 16, 6, generator=generator, dtype=torch.float64)
    return g, k


def dot(a, b):
    return (a * b).sum(-1)


deltas = st.sampled_from([0.0, 0.1, 1.0, 5.0])


@given(st.integers(0, 10_000), deltas)
def test_the_projection_is_idempotent(seed, delta):
    g, k = vectors(seed)
    z = trust_region_projection(g, k, delta)
    torch.testing.assert_close(trust_region_projection(z, k, delta), z)


@given(st.integers(0, 10_000), deltas, st.floats(1e-3, 1e3))
def test_the_projection_is_scale_covariant(seed, delta, scale):
    g, k = vectors(seed)
    z = trust_region_projection(g, k, delta)
    torch.testing.assert_close(trust_region_projection(scale * g, k, scale * delta), scale * z)
    torch.testing.assert_close(trust_region_projection(g, scale * k, scale * delta), z)


@given(st.integers(0, 10_000), deltas)
def test_projection_is_the_nearest_within_the_bound(seed, delta):
    g, k = vectors(seed)
    z = trust_region_projection(g, k, delta)
    other, _ = vectors(seed + 1)
    allowed = other[dot(other, k) <= delta], g[dot(other, k) <= delta], z[dot(other, k) <= delta]
    assert ((allowed[1] - allowed[2]).norm(dim=-1) <= (allowed[1] - allowed[0]).norm(dim=-1) + 1e-12).all()
    active = dot(g, k) > delta  # there the bound is used up, and z differs from g along k alone
    torch.testing.assert_close(dot(z, k)[active], torch.full_like(dot(z, k)[active], delta))


@given(st.integers(0, 10_000), deltas)
def test_z_never_raises_the_kl_faster_than_g_or_delta(seed, delta):
    generator = torch.Generator().manual_seed(seed)
    average, mean = torch.randn(2, 16, 3, generator=generator, dtype=torch.float64)
    log_std_average, log_std = 0.3 * torch.randn(2, 16, 3, generator=generator, dtype=torch.float64)
    g, _ = vectors(seed)
    k = torch.cat(gaussian_kl_gradient(average, log_std_average, mean, log_std), dim=-1)
    z = trust_region_projection(g, k, delta)

    def rate(direction, eps=1e-6):
        def kl(step):
            moved = mean + step * direction[:, :3], log_std + step * direction[:, 3:]
            return gaussian_kl(average, log_std_average, *moved)

        return (kl(eps) - kl(-eps)) / (2 * eps)

    slack = 1e-5 * (1.0 + rate(g).abs())  # rounding and third order of the central difference
    assert (rate(z) <= rate(g) + slack).all()
    assert (rate(z) <= delta + slack).all()
