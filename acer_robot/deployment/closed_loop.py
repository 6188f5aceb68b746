"""Whether an exported file drives its task as the training-side policy does, and on which states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from acer_robot.errors import InputError
from acer_robot.experience.episodes import deterministic, run_episodes
from acer_robot.policies.exported.file import load_deployed
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.spec import FloatArray
from acer_robot.tasks import make_task

SEQUENCE = 100
"""Control steps in a sequence of observations."""


@dataclass(frozen=True)
class ClosedLoop:
    """What came out of whole episodes with the exported file."""

    observations: npt.NDArray[np.float32]
    """[N, n] states that the training-side policy met."""
    sequence: npt.NDArray[np.float32]
    """[T, n] the first of them in one environment, in order."""
    evaluation: dict[str, Any]
    """The score, as policy.json and evaluation.json record it."""


def compare(run: TrainedRun, file: Path, episodes: int, seed: int) -> ClosedLoop:
    """Run the training-side policy and the exported file through the same episodes and compare their returns.

    Contacts amplify differences of single roundings, so returns need not agree exactly: the mean difference
    may be 5 % of the mean return and three standard errors of the paired differences.

    Raises:
        InputError: if the file does worse or better than that.
    """
    bounds = run.spec.bounds
    observations: list[FloatArray] = []
    act = deterministic(run.policy, bounds, torch.device("cpu"))

    def recorded(batch: FloatArray) -> FloatArray:
        observations.append(batch.copy())
        return act(batch)

    policy = load_deployed(file)
    task = make_task(run.config.task, episodes, seed)
    try:
        expected = run_episodes(recorded, task)
    finally:
        task.close()
    policy.reset()
    task = make_task(policy.task_config, episodes, seed)
    try:
        got = run_episodes(policy.act, task)
    finally:
        task.close()
    difference = got.returns - expected.returns
    allowed = 0.05 * abs(expected.returns.mean()) + 3.0 * difference.std() / np.sqrt(episodes) + 1e-6
    if not abs(difference.mean()) <= allowed:
        raise InputError(
            f"export refused: check 'closed loop' failed: the file returns {got.returns.mean():.1f}, "
            f"the training-side policy {expected.returns.mean():.1f}"
        )
    evaluation = {
        **got.summary(),
        "episodes": episodes,
        "seed": seed,
        "policy_return_mean": float(expected.returns.mean()),
    }
    sequence = np.stack([batch[0] for batch in observations[:SEQUENCE]]).astype(np.float32)
    return ClosedLoop(np.concatenate(observations).astype(np.float32), sequence, evaluation)
