"""The diagonal Gaussian policy: a network whose outputs are the statistics phi = (mean, log std)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acer_robot.policies.layers import trunk


class GaussianActor(nn.Module):
    """pi(u|x) = N(mean(x), diag(std^2)) over the *pre-squash* action u; the canonical action is `squash(u)`.

    A sigmoid interpolates a learned std between `std_min` and `std_max` in log space. These limits keep the density and
    the ratios from degenerating. A fixed std is the constant `std_init` and has no gradient.
    """

    log_std: Tensor
    log_std_min: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden: Sequence[int] = (256, 256),
        layer_norm: bool = True,
        squash: str = "tanh",
        learned_std: bool = True,
        std_init: float = 0.5,
        std_min: float = 0.3,
        std_max: float = 1.0,
        mean_bound: float | None = 4.0,
    ) -> None:
        super().__init__()
        self.action_size, self.squash_kind, self.learned_std = action_size, squash, learned_std
        self.mean_bound = math.inf if mean_bound is None else float(mean_bound)
        low, self.high = math.log(std_min), math.log(std_max)
        self.trunk = trunk(observation_size, hidden, layer_norm)
        self.head = nn.Linear(hidden[-1], 2 * action_size if learned_std else action_size)
        with torch.no_grad():
            self.head.weight.mul_(0.01)
            self.head.bias.zero_()
            if learned_std:
                fraction = (math.log(std_init) - low) / (self.high - low)
                self.head.bias[action_size:] = math.log(fraction / (1.0 - fraction))
        self.register_buffer("log_std", torch.full((action_size,), math.log(std_init)), persistent=False)
        # A tensor, because training may lower it without a new compilation. It is float64 until `.to` changes it.
        self.register_buffer("log_std_min", torch.tensor(low, dtype=torch.float64), persistent=False)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log std, both [.., d], for normalised observations [.., n]."""
        outputs = self.head(self.trunk(observations))
        mean = outputs[..., : self.action_size]
        if math.isfinite(self.mean_bound):
            mean = self.mean_bound * torch.tanh(mean / self.mean_bound)
        if not self.learned_std:
            return mean, self.log_std.expand_as(mean)
        fraction = torch.sigmoid(outputs[..., self.action_size :])
        return mean, self.log_std_min + (self.high - self.log_std_min) * fraction

    def set_std_min(self, std_min: float) -> None:
        """Set the lower limit of a learned std. An std keeps its relative position between the limits, in log space."""
        self.log_std_min.fill_(math.log(std_min))

    def squash(self, actions: Tensor) -> Tensor:
        """Map pre-squash samples [.., d] to canonical actions in [-1, 1]^d."""
        return torch.tanh(actions) if self.squash_kind == "tanh" else actions.clamp(-1.0, 1.0)
