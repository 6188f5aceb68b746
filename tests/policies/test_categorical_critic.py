"""The categorical critic against its definition, written down action by action."""

import pytest
import torch

from acer_robot.acer import expected_value
from acer_robot.policies.categorical_critic import CategoricalCritic

STATES, JOINTS, COUNT = (4, 3), 2, 2


def made(samples=3):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    torch.manual_seed(0)
    critic = CategoricalCritic(5, JOINTS, [8, 7], 6, True, members=2, embedding=0, bins=21).double()
    return critic, randn(*STATES, 5), randn(COUNT + samples, *STATES, JOINTS)


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_dueling_is_done_in_the_logits(samples):
    critic, x, actions = made(samples)
    features = critic.features(x)
    state_part = critic.state_part(features)
    v, q = critic.outputs(features, state_part, actions, COUNT)
    assert v.shape == (2, *STATES, 21)
    assert q.shape == (COUNT, 2, *STATES, 21)
    for k in range(2):
        hidden = [torch.relu(state_part[k] + a @ critic.advantage_action[k]) for a in actions]
        mean = sum(hidden[COUNT:]) / samples if samples else 0.0
        for m in range(COUNT):
            expected = v[k] + (hidden[m] - mean) @ critic.advantage_head.weight[k]
            torch.testing.assert_close(q[m, k], expected, rtol=0.0, atol=1e-12)


def test_slope_in_the_action_is_that_of_the_value():
    critic, x, actions = made()
    actions.requires_grad_()
    features = critic.features(x)
    state_part = critic.state_part(features)
    _, q = critic.outputs(features, state_part, actions, COUNT)
    found = critic.q_gradient(state_part, actions[1], q[1])
    for k in range(2):
        (expected,) = torch.autograd.grad(critic.values(q[1, k]).sum(), actions, retain_graph=True)
        torch.testing.assert_close(found[k], expected[1], rtol=0.0, atol=1e-12)
    assert float(found.abs().mean()) > 1e-3
    assert not found.requires_grad


def test_outputs_learn_a_value_between_two_centres():
    critic, x, actions = made()
    targets = torch.linspace(-4.4, 9.3, 12, dtype=torch.float64).view(1, *STATES).expand(2, -1, -1)
    optimizer = torch.optim.Adam(critic.parameters(), 0.01)
    for _ in range(600):
        features = critic.features(x)
        v, q = critic.outputs(features, critic.state_part(features), actions, COUNT)
        loss = critic.error(v, targets).mean() + critic.error(q[0], targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(critic.values(v), targets, rtol=0.0, atol=0.3)
    torch.testing.assert_close(expected_value(q[0], critic.centers), targets, rtol=0.0, atol=0.3)
