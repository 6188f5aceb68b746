"""Independent random streams of one run, all derived from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch


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


def seed_at(stream: int, step: int, attempt: int = 0) -> int:
    """Return the seed of what begins at environment step `step`, of one stream of `Seeds`, whatever came before.

    A later `attempt` from the same step has another seed.

    >>> seed_at(0, 1000) == seed_at(0, 2000)
    False
    """
    numbers = [stream, step, attempt] if attempt else [stream, step]
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


def process_streams() -> dict[str, Any]:
    """Return the state of the random streams that belong to the process; an environment may draw from them."""
    numpy_state = np.random.get_state(legacy=False)
    key = torch.from_numpy(numpy_state["state"]["key"].copy())
    return {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "torch": torch.get_rng_state(),
    }


def restore_process_streams(state: dict[str, Any]) -> None:
    """Set the random streams of the process to what `process_streams` returned."""
    random.setstate(state["python"])
    numpy_state = state["numpy"]
    inner = {**numpy_state["state"], "key": numpy_state["state"]["key"].numpy()}
    np.random.set_state({**numpy_state, "state": inner})
    torch.set_rng_state(state["torch"])
