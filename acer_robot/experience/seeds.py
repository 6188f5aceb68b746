"""Independent random streams of one run, all derived from its seed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """A seed for each random stream of a run; no two streams draw the same numbers."""

    learner: int
    """Initial networks and the noise of the updates."""
    exploration: int
    """Noise of the behaviour policy."""
    replay: int
    """Which segments are drawn."""
    update_counter: int
    """Poisson numbers of updates."""
    environments: int
    """Episodes of training."""
    evaluation: int
    """Episodes of the evaluations during training."""
    score: int
    """Episodes in which the exported file is scored."""


def independent_seeds(seed: int) -> Seeds:
    """Return independent seeds for the streams of a run, by NumPy's `SeedSequence.spawn`.

    >>> independent_seeds(0) == independent_seeds(0)
    True
    """
    children = np.random.SeedSequence(seed).spawn(len(fields(Seeds)))
    return Seeds(*(int(child.generate_state(1)[0] >> 1) for child in children))
