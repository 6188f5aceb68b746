"""The stochastic dueling network's estimate of Q."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_same_shape


def stochastic_dueling_q(v: Tensor, advantage: Tensor, sampled_advantages: Tensor) -> Tensor:
    """Return Q~, the value plus the advantage less its mean over actions of the current policy.

    `Q~(x, a) = V(x) + A(x, a) - (1/n) sum_j A(x, u_j)`, u_j ~ pi(. | x)

    The samples u_j are constants (no gradient flows through how they were drawn), but A is differentiated at them. Over
    fresh samples `E_a~pi Q~(x, a) = V(x)`. If a itself were one of the u_j, its advantage would shrink to (n - 1)/n.
    Even with fresh ones, fitting Q~ by least squares leaves A a factor n/(n + 1) too small, because the noise of the
    mean is paid for in the loss: a known bias, small for large n.

    Args:
        v: state values [..].
        advantage: A(x, a) at the actions in question [..].
        sampled_advantages: A(x, u_j) [n, ..], n >= 1.

    Returns:
        Q~ [..]; differentiable.

    Raises:
        ValueError: if the shapes do not fit or n is 0.

    Source: Wang et al. 2017, eq. 13.
    """
    require_same_shape(v=v, advantage=advantage)
    if sampled_advantages.dim() != v.dim() + 1 or sampled_advantages.shape[1:] != v.shape:
        raise ValueError(
            f"expected sampled_advantages [n, *{tuple(v.shape)}], got {tuple(sampled_advantages.shape)}"
        )
    if sampled_advantages.shape[0] == 0:
        raise ValueError("expected at least one sampled advantage, got 0")
    return v + advantage - sampled_advantages.mean(0)


def with_opposites(noise: Tensor) -> Tensor:
    """Return noise and its opposite, from which antithetic samples of a Gaussian policy are made.

    `u_j = mean + std eps_j` and `u_(m+j) = mean - std eps_j`, for j = 1 .. m

    Each u is still a sample of the policy, so that `E (1/n) sum_j A(x, u_j)` is what it was, with n = 2 m. Where A is
    linear in u, the mean over a pair is A(x, mean): it has no noise, and fitting Q~ no longer leaves A too small.

    Args:
        noise: standard normal [m, ..].

    Returns:
        [2 m, ..]: noise, then -noise.

    Source: antithetic variates, Hammersley and Morton 1956; not in ACER.
    """
    return torch.cat([noise, -noise])
