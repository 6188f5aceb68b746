"""What travels between the learner and its workers: plain numbers, texts and numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.policies.policy import Policy

Floats = npt.NDArray[np.float32]

Weights = dict[str, Floats]
"""Parameters and observation statistics of a policy, by name."""


@dataclass(frozen=True)
class Segment:
    """Consecutive steps of one worker's environments, with the statistics of the policy that acted."""

    incarnation: int
    """How often the worker had been replaced before."""
    sequence: int
    """Number of the segment within the incarnation, from 0."""
    version: int
    """Updates that the learner had done when it sent the weights that acted."""
    rows: Floats
    """[T, E, width] rows of the replay (`Replay.rows`); they hold mean and log std of the behaviour policy mu."""
    env_steps: int
    """Environment steps, action repeat counted."""
    returns: npt.NDArray[np.float64]
    """Returns of the episodes that ended."""
    numbers: dict[str, float]
    """Numbers of metrics.csv that the task gives (`Collector.numbers`): means since the last segment, and counts."""

    def content(self) -> dict[str, Any]:
        """Return the fields by name. No class of ours is pickled on the way."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def data_bytes(self) -> int:
        """Size of the arrays."""
        return sum(array.nbytes for array in (self.rows, self.returns))


def weights_of(policy: Policy) -> Weights:
    """Return a copy of all that decides what a policy does."""
    named: dict[str, Tensor] = dict(policy.state_dict())
    named["actor.log_std_min"] = policy.actor.log_std_min  # annealed, and no part of the state_dict
    return {name: value.detach().cpu().numpy().copy() for name, value in named.items()}


def load_weights(policy: Policy, weights: Weights) -> None:
    """Set a policy to what `weights_of` returned; the arrays may be read-only."""
    tensors = {name: torch.tensor(value) for name, value in weights.items()}
    policy.actor.log_std_min.copy_(tensors.pop("actor.log_std_min"))
    policy.load_state_dict(tensors)
