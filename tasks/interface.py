"""The one interface to every task: B environments stepped together, with true successors and resets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class StepResult:
    """What one command did in each of B environments."""

    observations: npt.NDArray[np.float32]
    """[B, n] what to act on next: after the end of an episode the first observation of the new one."""
    next_observations: npt.NDArray[np.float32]
    """[B, n] the *true* successor, never the observation after a reset."""
    rewards: npt.NDArray[np.float64]
    """[B] summed over the action repeat."""
    terminated: npt.NDArray[np.bool_]
    """[B] the task itself ended: the successor is worth nothing."""
    truncated: npt.NDArray[np.bool_]
    """[B] the episode was cut off: the successor's value counts in full (unless it is terminated as well)."""
    env_steps: npt.NDArray[np.int64]
    """[B] environment steps that the command took: the action repeat, or fewer at the end of an episode."""
