"""The learnt embedding's parameters over time: its optimiser, and the two copies that the critics read."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from acer_robot.learner.flat import FlatParameters
from acer_robot.policies.embedding import StateActionEmbedding
from acer_robot.schema import LearnerConfig


class Embeddings(nn.Module):
    """f and g as they are being learnt, and copies of them that stand still while the critics learn on them.

    Every `embedding_refresh` updates the target critic's copy takes over the critic's, and then the critic's copy takes
    over the learnt one. With `embedding_refresh` 0 each is a running average instead (`target_alpha`), in that order.

    Source: Fujimoto et al. 2023 (TD7), arXiv:2306.02451. There the target critic is copied at the same moments.
    """

    def __init__(self, embedding: StateActionEmbedding, config: LearnerConfig) -> None:
        super().__init__()
        self._refresh, self._alpha = config.embedding_refresh, config.target_alpha
        self.learnt = embedding
        self.of_critic = copy.deepcopy(embedding).requires_grad_(False)
        self.of_target = copy.deepcopy(self.of_critic)
        # After the last `.to(..)`: embedding has its device and dtype.
        self.flat_learnt = FlatParameters(self.learnt)
        self.flat_of_critic, self.flat_of_target = (
            FlatParameters(self.of_critic),
            FlatParameters(self.of_target),
        )
        values = self.flat_learnt.values
        fused = values.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam([values], lr=config.embedding_lr, fused=fused)

    def step(self, gradient: Tensor, updates: int) -> None:
        """Move f and g down their loss; `updates` are done with this one, and say whether the copies are refreshed.

        Every tensor is written in place, and the device is never asked for a number.
        """
        self.flat_learnt.values.grad = gradient
        self.optimizer.step()
        if self._refresh == 0:
            self.flat_of_target.average_towards(self.flat_of_critic, self._alpha)
            self.flat_of_critic.average_towards(self.flat_learnt, self._alpha)
        elif updates % self._refresh == 0:
            self.flat_of_target.values.copy_(self.flat_of_critic.values)
            self.flat_of_critic.values.copy_(self.flat_learnt.values)
