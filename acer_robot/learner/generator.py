"""The state of a random generator, which a checkpoint holds."""

from __future__ import annotations

import torch
from torch import Tensor


def restore_generator(generator: torch.Generator, state: Tensor) -> None:
    """Set a generator to a `state`, unless that is of another kind of device, whose draws it cannot repeat.

    The generators of CPU and CUDA have states of different sizes. Who moves a run from one to the other reseeds.
    """
    if state.numel() == generator.get_state().numel():
        generator.set_state(state)
