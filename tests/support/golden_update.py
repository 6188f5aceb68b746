"""One whole update, parameters in, parameters out, as a file: `python tests/support/golden_update.py` writes it anew.

Everything random is stored, so that no test depends on a generator's stream: parameters before, batch, noise.
Regenerate only after a change that is meant to change the numbers, and say so in the commit.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from learner_cases import fix_noise, make_learner, paper_config, random_batch, random_noise

from acer_robot.learner.batch import Trajectory
from acer_robot.schema import LearnerConfig

FOLDER = Path(__file__).parent / "golden"
ACTION_SIZE = 2
CASES = {
    "paper": paper_config(learned_std=False),
    # every departure from the paper at once
    "departures": LearnerConfig(
        hidden=[8, 7],
        advantage_hidden=6,
        critics=2,
        pessimism=1.0,
        target_alpha=0.9,
        c=0.7,
        correction="pathwise",
        entropy_target=-0.3,
        std_init=0.5,
        std_min=0.3,
        std_min_final=None,
        std_max=1.0,
        trace_lambda=0.9,
        trace_exponent=0.5,
        alpha=0.995,
        deployed_alpha=0.9998,
        lr=3e-4,
    ),
}


def run_update(name: str, stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers after one update from what is stored."""
    learner = make_learner(CASES[name], ACTION_SIZE)
    learner.load_state_dict(
        {key.removeprefix("in/"): value for key, value in stored.items() if key.startswith("in/")}
    )
    fix_noise(learner, stored["noise"])
    learner.update(Trajectory(**{f.name: stored[f"batch/{f.name}"] for f in dataclasses.fields(Trajectory)}))
    return {key: value.detach().clone() for key, value in learner.state_dict().items()}


def load(name: str) -> dict[str, torch.Tensor]:
    """Read the stored update."""
    with np.load(FOLDER / f"{name}_update.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def generate(name: str) -> None:
    """Write the file of one case."""
    learner = make_learner(CASES[name], ACTION_SIZE)
    batch = random_batch(learner, length=5, segments=3, seed=20)
    stored = {f"in/{key}": value.detach().clone() for key, value in learner.state_dict().items()}
    stored |= {f"batch/{f.name}": getattr(batch, f.name) for f in dataclasses.fields(batch)}
    stored["noise"] = random_noise(learner, batch, seed=21)
    stored |= {f"out/{key}": value for key, value in run_update(name, stored).items()}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(
        FOLDER / f"{name}_update.npz", **{key: value.numpy() for key, value in stored.items()}
    )


if __name__ == "__main__":
    for case in CASES:
        generate(case)
