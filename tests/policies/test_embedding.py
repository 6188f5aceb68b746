"""The learnt embedding: f, g and their slope in the action, and what a critic makes of it at first."""

from __future__ import annotations

import torch
from torch.nn import functional

from acer_robot.policies.critic import DuelingCritic
from acer_robot.policies.embedding import StateActionEmbedding

STATES, OBSERVED, JOINTS, SIZE = (5, 4), 7, 3, 6


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def embedding():
    torch.manual_seed(3)
    return StateActionEmbedding(OBSERVED, JOINTS, SIZE, hidden=8).double()


def test_f_has_a_mean_absolute_value_of_1():
    z = embedding().encode(100.0 * randn(*STATES, OBSERVED))
    torch.testing.assert_close(z.abs().mean(-1), torch.ones(STATES, dtype=torch.float64))
    assert (z.std(0) > 0.1).any()


def test_a_state_that_f_maps_to_0_has_a_finite_embedding():
    nets = embedding()
    with torch.no_grad():
        nets.f[-1].weight.zero_()
        nets.f[-1].bias.zero_()
    x = randn(2, OBSERVED).requires_grad_()
    z = nets.encode(x)
    z.sum().backward()
    assert torch.equal(z, torch.zeros_like(z))
    assert x.grad.isfinite().all()


def test_g_is_one_network_over_z_and_action():
    nets = embedding()
    x, actions = randn(*STATES, OBSERVED), randn(2, *STATES, JOINTS, seed=1)
    hidden = functional.elu(x @ nets.f[0].weight.T + nets.f[0].bias)
    y = hidden @ nets.f[2].weight.T + nets.f[2].bias
    z = y / y.abs().mean(-1, keepdim=True)
    both = torch.cat([z.expand(2, *z.shape), actions], -1)
    weight = torch.cat([nets.g_state.weight, nets.g_action.weight], 1)
    e = functional.elu(both @ weight.T + nets.g_state.bias) @ nets.g_out.weight.T + nets.g_out.bias
    states, inputs, _ = nets.critic_inputs(x, actions)
    torch.testing.assert_close(states, torch.cat([x, z], -1), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(inputs, torch.cat([actions, e], -1), rtol=0.0, atol=1e-12)
    assert not states.requires_grad
    assert not inputs.requires_grad


def test_slope_in_the_action_goes_through_g():
    nets = embedding()
    x, slopes = randn(*STATES, OBSERVED), randn(*STATES, JOINTS + SIZE, seed=2)
    actions = randn(*STATES, JOINTS, seed=1).requires_grad_()
    part = nets.state_part(nets.encode(x)).detach()
    read = torch.cat([actions, nets.predict(part, actions)], -1)
    (expected,) = torch.autograd.grad((read * slopes).sum(), actions)
    found = nets.action_gradient(part, actions.detach(), slopes)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)
    assert (found - slopes[..., :JOINTS]).abs().mean() > 0.05  # g's share


def test_e_counts_for_nothing_at_first():
    torch.manual_seed(4)
    critic = DuelingCritic(OBSERVED, JOINTS, [8], 5, members=2, embedding=SIZE).double()
    states, actions = randn(*STATES, OBSERVED + SIZE), randn(1, *STATES, JOINTS, seed=1)
    part = critic.state_part(critic.features(states))
    advantages = [
        critic.advantage(part, torch.cat([actions, size * randn(1, *STATES, SIZE)], -1))
        for size in (0.0, 9.0)
    ]
    assert torch.equal(*advantages)
    hidden = functional.relu(part + (actions @ critic.advantage_action[:, None, :JOINTS]))
    plain = (hidden.flatten(1, -2) @ critic.advantage_head.weight + critic.advantage_head.bias).view(
        2, *STATES
    )
    torch.testing.assert_close(advantages[0][0], plain, rtol=0.0, atol=1e-12)


def test_a_critic_without_embedding_is_as_it_was():
    """The random stream goes on at the same place, so that a learner's networks depend on nothing new."""
    torch.manual_seed(4)
    critic = DuelingCritic(OBSERVED, JOINTS, [8], 5, members=2)
    torch.manual_seed(4)
    first = torch.empty(2, OBSERVED, 8).uniform_(-(OBSERVED**-0.5), OBSERVED**-0.5)
    assert torch.equal(critic.trunk[0].weight, first)
    assert critic.advantage_action.shape == (2, JOINTS, 5)
