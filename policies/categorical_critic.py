"""A critic whose values are distributions over bins, learnt by cross-entropy (HL-Gauss)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from acer_robot import acer
from acer_robot.policies.critic import DuelingCritic

LIMIT = 10.0
"""Largest value that the bins hold. Rewards are divided by the standard deviation of the discounted return."""
SPREAD = 0.75
"""Standard deviation of a target's Gaussian, in bins."""


class CategoricalCritic(DuelingCritic):
    """K critics with a distribution over `bins` values of -10 to 10 for V(x), and one for Q~(x, a).

    The stochastic dueling of eq. 13 is done in the logits, where the advantage head is linear in its hidden layer h:
    `l_Q = l_V + H (h(a) - (1/n) sum_j h(u_j))`. So a state costs one product with H for each action in question, and
    none for the samples u_j. Q~ and V are the means of their distributions.

    Source: Farebrother et al. 2024, arXiv:2403.03950. There is no dueling network there.
    """

    centers: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden: Sequence[int],
        advantage_hidden: int,
        layer_norm: bool,
        members: int,
        embedding: int,
        bins: int,
    ) -> None:
        super().__init__(
            observation_size, action_size, hidden, advantage_hidden, layer_norm, members, embedding, bins
        )
        self.register_buffer("centers", torch.linspace(-LIMIT, LIMIT, bins), persistent=False)

    def value(self, features: Tensor) -> Tensor:
        """Return the logits of V(x) [K, .., bins] from features [K, .., h]."""
        logits: Tensor = self.value_head(features.flatten(1, -2))
        return logits.view(*features.shape[:-1], -1)

    def outputs(
        self, features: Tensor, state_part: Tensor, inputs: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of V(x) [K, .., bins] and of Q~(x, a) [M, K, .., bins]; see `DuelingCritic.outputs`."""
        of_v, hidden = self.value(features), self._hidden(state_part, inputs)
        of_actions, of_samples = hidden[:, :count], hidden[:, count:]
        above = of_actions - of_samples.mean(1, keepdim=True) if of_samples.shape[1] else of_actions
        change = torch.matmul(above.flatten(1, 2), self.advantage_head.weight)
        change = change.view(self.members, count, *of_v.shape[1:])
        return of_v, (of_v.unsqueeze(1) + change).transpose(0, 1)

    def values(self, outputs: Tensor) -> Tensor:
        """Return the mean [..] of the distributions with these logits [.., bins]."""
        return acer.expected_value(outputs, self.centers)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy [..] of logits [.., bins] with a Gaussian about each target [..]."""
        sigma = SPREAD * 2.0 * LIMIT / (len(self.centers) - 1)
        return acer.cross_entropy(outputs, acer.gaussian_bins(targets, self.centers, sigma))

    def q_gradient(self, state_part: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return dQ~/d inputs [K, .., d] at one action per state, with logits [K, .., bins]; without a graph.

        `dQ~/da = W^T (H^T dQ~/dl * [s(x) + W a > 0])`, `dQ~/dl` as in `expected_value_gradient`.
        """
        with torch.no_grad():
            in_logits = acer.expected_value_gradient(outputs.flatten(1, -2), self.centers)
            in_hidden = torch.matmul(in_logits, self.advantage_head.weight.transpose(1, 2))
            active = self._before_relu(state_part, inputs.unsqueeze(0)).squeeze(1) > 0.0
            gradient = torch.matmul(active * in_hidden, self.advantage_action.transpose(1, 2))
        return gradient.view(self.members, *inputs.shape)

    def _hidden(self, state_part: Tensor, actions: Tensor) -> Tensor:
        """Return h [K, M, N, width]."""
        return functional.relu(self._before_relu(state_part, actions))
