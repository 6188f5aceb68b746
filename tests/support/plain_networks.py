"""A learner's networks as matrix products of one state, for the slow loops of `reference`; how the two are compared."""

import reference
import torch
from learner_cases import gradients_of


class PlainNetworks:
    """Actor, average actor and critic as matrix products of one state, on parameters of their own."""

    def __init__(self, learner):
        self.learned_std, self.squash = learner.config.learned_std, learner.config.squash
        self.log_std = learner.actor.log_std.clone()
        self.actor, self.average = (
            [p.detach().clone() for p in module.parameters()]
            for module in (learner.actor, learner.average_actor)
        )
        self.critic = {name: p.detach().clone() for name, p in learner.critic.named_parameters()}
        for parameter in (*self.actor, *self.critic.values()):
            parameter.requires_grad_()

    def statistics(self, parameters, x):
        hidden = x
        for weight, bias in zip(parameters[0:-2:2], parameters[1:-2:2], strict=True):
            hidden = torch.relu(weight @ hidden + bias)
        outputs = parameters[-2] @ hidden + parameters[-1]
        if not self.learned_std:
            return outputs, self.log_std
        mean, raw = outputs.chunk(2)
        low, high = torch.tensor([0.3, 1.0], dtype=torch.float64).log()
        return mean, low + (high - low) * torch.sigmoid(raw)

    def features(self, x):
        for layer in ("trunk.0", "trunk.2"):
            x = torch.relu(x @ self.critic[f"{layer}.weight"][0] + self.critic[f"{layer}.bias"][0, 0])
        return x

    def value(self, x):
        return (
            self.features(x) @ self.critic["value_head.weight"][0] + self.critic["value_head.bias"][0, 0]
        )[0]

    def advantage(self, x, u):
        action = torch.tanh(u) if self.squash == "tanh" else u.clamp(-1.0, 1.0)
        state = self.features(x) @ self.critic["advantage_state.weight"][0]
        hidden = torch.relu(
            state + self.critic["advantage_state.bias"][0, 0] + action @ self.critic["advantage_action"][0]
        )
        return (hidden @ self.critic["advantage_head.weight"][0] + self.critic["advantage_head.bias"][0, 0])[
            0
        ]

    def models(self):
        return reference.Models(
            actor=lambda x: self.statistics(self.actor, x),
            average_actor=lambda x: self.statistics(self.average, x),
            value=self.value,
            advantage=self.advantage,
            actor_parameters=self.actor,
            critic_parameters=list(self.critic.values()),
            learned_std=self.learned_std,
        )


def segment(batch, b):
    return [
        reference.Step(
            observation=batch.observations[t, b],
            next_observation=batch.next_observations[t, b],
            action=batch.actions[t, b],
            reward=batch.rewards[t, b].item(),
            terminated=batch.terminated[t, b].item(),
            truncated=batch.truncated[t, b].item(),
            behaviour=(batch.behaviour_mean[t, b], batch.behaviour_log_std[t, b]),
        )
        for t in range(batch.rewards.shape[0])
    ]


def ascent_of(learner):
    """Minus the gradients of the last update, parameter by parameter."""
    actor, critic = gradients_of(learner)
    return [-gradient for gradient in (*actor, *critic)]


def assert_all_close(actual, expected):
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0.0, atol=1e-10)
