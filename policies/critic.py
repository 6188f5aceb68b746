"""The stochastic dueling critic: a state trunk, a value head, a small advantage head over features and action."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from acer_robot import acer

HUBER_LIMIT = 1.0
"""Error up to which Huber's loss is half the square; above, it is linear."""


class EnsembleLinear(nn.Module):
    """K independent linear layers evaluated together: [K, N, in] -> [K, N, out]."""

    def __init__(self, members: int, width_in: int, width_out: int) -> None:
        super().__init__()
        limit = 1.0 / math.sqrt(width_in)
        self.weight = nn.Parameter(torch.empty(members, width_in, width_out).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(members, 1, width_out).uniform_(-limit, limit))

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply member k to `inputs[k]`."""
        if self.weight.shape[-1] == 1:
            # torch.compile fuses this product and sum with the operations before them. A baddbmm of this shape is slow
            # on a CPU.
            return (inputs * self.weight.transpose(1, 2)).sum(-1, keepdim=True) + self.bias
        return torch.baddbmm(self.bias, inputs, self.weight)


class EnsembleLayerNorm(nn.Module):
    """Layer normalisation over the last axis. Each member has its own scale and shift."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, width))
        self.bias = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise [K, N, width]."""
        normalised = functional.layer_norm(inputs, inputs.shape[-1:])
        return torch.addcmul(self.bias, normalised, self.weight)


class DuelingCritic(nn.Module):
    """K critics, each with V(x) and A(x, a).

    The axis of the critics comes first in every result.

    The first layer of the advantage head has two parts. One reads the trunk's features; we compute it once per state.
    The other reads the action. So n sampled actions per state cost n small heads, not n whole networks.

    With a learnt embedding of width `embedding` (see `StateActionEmbedding`) the observation is [x, z] and the
    action is [a, e]: both are inputs like any other. The weights of e are 0 at first.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden: Sequence[int] = (256, 256),
        advantage_hidden: int = 128,
        layer_norm: bool = True,
        members: int = 1,
        embedding: int = 0,
        huber: bool = False,
    ) -> None:
        super().__init__()
        self.members, self._huber = members, huber
        layers: list[nn.Module] = []
        width_in = observation_size + embedding
        for width in hidden:
            layers.append(EnsembleLinear(members, width_in, width))
            if layer_norm:
                layers.append(EnsembleLayerNorm(members, width))
            layers.append(nn.ReLU())
            width_in = width
        self.trunk = nn.Sequential(*layers)
        self.value_head = EnsembleLinear(members, width_in, 1)
        self.advantage_state = EnsembleLinear(members, width_in, advantage_hidden)
        of_action = torch.empty(members, action_size, advantage_hidden).uniform_(-1.0, 1.0)
        of_embedding = torch.zeros(members, embedding, advantage_hidden)
        self.advantage_action = nn.Parameter(torch.cat([of_action / math.sqrt(action_size), of_embedding], 1))
        self.advantage_head = EnsembleLinear(members, advantage_hidden, 1)

    def features(self, observations: Tensor) -> Tensor:
        """Return trunk features [K, .., h] of normalised observations [.., n]."""
        flat = observations.reshape(-1, observations.shape[-1])
        features: Tensor = self.trunk(flat.expand(self.members, *flat.shape))
        return features.view(self.members, *observations.shape[:-1], -1)

    def value(self, features: Tensor) -> Tensor:
        """Return V(x) [K, ..] from features [K, .., h]."""
        value: Tensor = self.value_head(features.flatten(1, -2))
        return value.view(features.shape[:-1])

    def state_part(self, features: Tensor) -> Tensor:
        """Return s(x) [K, .., width], the part of the advantage head's first layer that reads the features."""
        part: Tensor = self.advantage_state(features.flatten(1, -2))
        return part.view(*features.shape[:-1], -1)

    def advantage(self, state_part: Tensor, actions: Tensor) -> Tensor:
        """Return A(x, a) [M, K, ..] of M canonical actions [M, .., d] per state, from s(x) [K, .., width]."""
        samples, states = actions.shape[0], state_part.shape[1:-1]
        hidden = functional.relu(self._before_relu(state_part, actions))
        flat: Tensor = self.advantage_head(hidden.flatten(1, -2))
        return flat.view(self.members, samples, *states).transpose(0, 1)

    def estimates(
        self, features: Tensor, state_part: Tensor, inputs: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return V(x) [K, ..], and Q~(x, a) [M, K, ..] of the first `count` = M actions.

        The actions after these are samples of the policy, u_1..u_n of eq. 13. Without any, Q~ = V + A.

        Args:
            features: [K, .., h] of `features`.
            state_part: [K, .., width] of `state_part`.
            inputs: canonical actions [M + n, .., d], with an embedding [a, e].
            count: M.
        """
        v, advantages = self.value(features), self.advantage(state_part, inputs)
        of_actions, of_samples = advantages[:count], advantages[count:]
        v_each = v.expand_as(of_actions)
        if len(of_samples) == 0:
            return v, v_each + of_actions
        return v, acer.stochastic_dueling_q(
            v_each, of_actions, of_samples.unsqueeze(1).expand(-1, count, *v.shape)
        )

    def error(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return the loss [..] of each value [..] against its target [..], a constant.

        It is `1/2 (target - value)^2`, and with `huber` `|target - value| - 1/2` where the error is above 1.
        """
        if self._huber:
            return functional.huber_loss(values, targets, reduction="none", delta=HUBER_LIMIT)
        return 0.5 * (targets - values).square()

    def advantage_gradient(self, state_part: Tensor, actions: Tensor) -> Tensor:
        """Return dA(x, a)/da [K, .., d] at one canonical action per state [.., d], without a graph.

        `A = w . relu(s(x) + W a) + b`, so `dA/da = W^T (w * [s(x) + W a > 0])`.
        """
        with torch.no_grad():
            active = self._before_relu(state_part, actions.unsqueeze(0)).squeeze(1) > 0.0
            weighted = active * self.advantage_head.weight.transpose(1, 2)
            gradient: Tensor = torch.matmul(weighted, self.advantage_action.transpose(1, 2))
        return gradient.view(self.members, *actions.shape)

    def _before_relu(self, state_part: Tensor, actions: Tensor) -> Tensor:
        """Return s(x) + W a [K, M, N, width], with the states flattened to one axis of size N."""
        from_action = torch.matmul(actions.reshape(-1, actions.shape[-1]), self.advantage_action)
        of_each = from_action.view(self.members, actions.shape[0], -1, from_action.shape[-1])
        return state_part.flatten(1, -2).unsqueeze(1) + of_each
