"""The pathwise gradient, written down joint by joint, against automatic differentiation of the objective itself."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from learner_cases import make_learner, paper_config, random_batch
from torch.distributions import Normal
from torch.distributions.transforms import TanhTransform

from acer_robot.acer.ensemble import combine, combine_gradient
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.gradients import action_gradient, estimate, pathwise_gradient

STATES, JOINTS = (5, 4), 3


def objective(learner, x, phi, noise, others, weights):
    """w_Q Q~(x, squash(u)) + w_H H of every state, and H, from phi with a graph."""
    u = phi[0] + phi[1].exp() * noise
    entropy = Normal(phi[0], phi[1].exp()).entropy().sum(-1)
    if learner.config.squash == "tanh":
        entropy = entropy + TanhTransform().log_abs_det_jacobian(u, torch.tanh(u)).sum(-1)
    q = estimate(learner.critic, x, learner.actor.squash(u).unsqueeze(0), others).q[0]
    return weights[0] * combine(q, learner.config.pessimism) + weights[1] * entropy, entropy


@pytest.mark.parametrize("squash", ["tanh", "clip"])
@pytest.mark.parametrize(("critics", "pessimism"), [(1, 1.0), (2, 1.0), (2, 0.3), (3, 0.5)])
def test_it_is_the_gradient_of_the_objective(squash, critics, pessimism):
    config = paper_config(learned_std=True, squash=squash, critics=critics, pessimism=pessimism)
    learner = make_learner(config, JOINTS)
    generator = torch.Generator().manual_seed(critics)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, noise, others = randn(*STATES, 3), randn(*STATES, JOINTS), randn(2, *STATES, JOINTS)
    phi = (0.5 * randn(*STATES, JOINTS), 0.3 * randn(*STATES, JOINTS))
    weights = (torch.tensor(1.7, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64))
    actions = learner.actor.squash(phi[0] + phi[1].exp() * noise)
    estimates = estimate(learner.critic, x, torch.stack([randn(*STATES, JOINTS), actions]), others)
    slope = action_gradient(learner._networks, estimates, 1, phi[0] + phi[1].exp() * noise, pessimism)
    found, entropy = pathwise_gradient(weights[0] * slope, phi, noise, squash, weights[1])

    free = tuple(part.clone().requires_grad_() for part in phi)
    expected_objective, expected_entropy = objective(learner, x, free, noise, others, weights)
    expected = torch.autograd.grad(expected_objective.sum(), free)
    torch.testing.assert_close(entropy, expected_entropy.detach(), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)
    assert min(float(part.abs().mean()) for part in found) > 0.05
    assert not any(part.requires_grad for part in found)


@pytest.mark.parametrize("members", [1, 2, 4])
def test_each_critic_counts_as_much_as_it_moves_the_combination(members):
    values = torch.randn(members, 50, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(combine(values, 0.7).sum(), values)
    torch.testing.assert_close(combine_gradient(values.detach(), 0.7), expected)


@pytest.mark.parametrize("values", [[1.0, 1.0, 0.0], [2.0, 0.0, 0.0, 2.0], [1.0, 1.0], [3.0, 3.0, 3.0]])
def test_critics_that_tie_share_their_weight(values):
    values = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(combine(values, 0.7), values)
    weights = combine_gradient(values.detach(), 0.7)
    torch.testing.assert_close(weights, expected)
    assert weights.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_correction_along_the_path_equals_the_score_function(c):
    """g averaged over 20,000 draws in the same four states; the stored actions, hence the first term, are the same."""
    found = {}
    for correction in ("score", "pathwise"):
        learner = make_learner(paper_config(learned_std=True, squash="tanh", c=c, correction=correction), 2)
        few = random_batch(learner, length=2, segments=2, seed=3)
        many = {f.name: getattr(few, f.name) for f in fields(few)}
        many = {name: part.repeat(1, 20_000, *(1,) * (part.dim() - 2)) for name, part in many.items()}
        g = learner.update(Trajectory(**many)).ascent.g.unflatten(1, (20_000, 2))
        found[correction] = (g.mean(1), g.std(1) / math.sqrt(20_000))
    (score, score_error), (pathwise, error) = found["score"], found["pathwise"]
    assert ((score - pathwise).abs() < 4.5 * (score_error + error)).all()
    assert (score.abs() > 9.0 * (score_error + error)).any()  # there is something to compare
