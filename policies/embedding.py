"""A learnt embedding of states and of state-action pairs, which the critic reads beside observation and action."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class StateActionEmbedding(nn.Module):
    """An encoder f of states and a model g that predicts the embedding of the next state.

    `z = f(x)`, with `f = normalise(linear(ELU(linear(x))))` and `normalise(y) = y / mean|y|`;
    `e = g(z, a)`, with `g = linear(ELU(linear([z, a])))`, trained so that e is near f(x') of the successor x'.

    The critic's trunk reads [x, z]. Its advantage heads read [a, e]. g's first layer is split into a part over z,
    computed once per state, and a part over the action, so that n actions per state cost n small products.

    Shapes: x [.., n], z [.., size], a [M, .., d] for M canonical actions per state, e [M, .., size].

    Source: Fujimoto et al. 2023 (SALE, in TD7), arXiv:2306.02451, section 4.1. There the policy reads z as well.
    """

    def __init__(self, observation_size: int, action_size: int, size: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Linear(observation_size, hidden), nn.ELU(), nn.Linear(hidden, size))
        self.g_state = nn.Linear(size, hidden)
        self.g_action = nn.Linear(action_size, hidden, bias=False)
        self.g_out = nn.Linear(hidden, size)
        limit = (size + action_size) ** -0.5  # as one layer over [z, a] would have it
        with torch.no_grad():
            for parameter in (self.g_state.weight, self.g_state.bias, self.g_action.weight):
                parameter.uniform_(-limit, limit)

    def encode(self, x: Tensor) -> Tensor:
        """Return z = f(x) [.., size] of normalised observations [.., n]; its mean absolute value is 1."""
        y: Tensor = self.f(x)
        return y / y.abs().mean(-1, keepdim=True).clamp_min(1e-8)

    def state_part(self, z: Tensor) -> Tensor:
        """Return what z [.., size] adds to g's first layer [.., hidden]."""
        part: Tensor = self.g_state(z)
        return part

    def predict(self, state_part: Tensor, actions: Tensor) -> Tensor:
        """Return e = g(z, a) [.., size] of canonical actions [.., d], from `state_part(z)` [.., hidden]."""
        e: Tensor = self.g_out(functional.elu(state_part + self.g_action(actions)))
        return e

    @torch.no_grad()
    def critic_inputs(self, x: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the critic reads, without a graph: [x, z] and [a, e]; and `state_part(z)`.

        Args:
            x: normalised observations [.., n].
            actions: M canonical actions per state [M, .., d].
        """
        z = self.encode(x)
        part = self.state_part(z)
        return torch.cat([x, z], -1), torch.cat([actions, self.predict(part, actions)], -1), part

    @torch.no_grad()
    def action_gradient(self, state_part: Tensor, actions: Tensor, slopes: Tensor) -> Tensor:
        """Return the gradient in a [.., d] of a function of [a, g(z, a)] with slopes [.., d + size] in these two.

        The chain rule with `g = G_out ELU(p) + b`, `p = state_part + G_action a`:
        `slope_a + G_action^T (ELU'(p) * G_out^T slope_e)`, where `ELU'(p) = min(1, exp(p))`.
        """
        in_action, in_e = slopes.tensor_split([actions.shape[-1]], -1)
        elu_slope = (state_part + self.g_action(actions)).clamp(max=0.0).exp()
        through_g: Tensor = ((in_e @ self.g_out.weight) * elu_slope) @ self.g_action.weight
        return in_action + through_g
