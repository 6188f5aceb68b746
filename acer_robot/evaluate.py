"""`acer-eval`: the return of a run's average policy or of an exported policy file, over whole episodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from acer_robot.checkpoint import load_run
from acer_robot.command import run_command
from acer_robot.config import EvaluateConfig, check_range
from acer_robot.errors import InputError
from acer_robot.policies.deployed import load_deployed
from acer_robot.policies.policy import Policy
from acer_robot.spec import ActionBounds, FloatArray
from acer_robot.tasks import VectorTask, make_task

Act = Callable[[FloatArray], FloatArray]
"""From raw observations [B, n] to commands [B, d] in actuator units."""


@dataclass(frozen=True)
class Episodes:
    """Whole episodes, one per environment."""

    returns: npt.NDArray[np.float64]
    """[B] undiscounted sums of rewards."""
    lengths: npt.NDArray[np.int64]
    """[B] environment steps, action repeat counted."""

    def summary(self) -> dict[str, object]:
        """Return what `acer-eval` prints: mean and standard deviation over episodes, and every return."""
        return {
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "returns": [float(value) for value in self.returns],
            "length_mean": float(self.lengths.mean()),
        }


def run_episodes(act: Act, task: VectorTask) -> Episodes:
    """Run one whole episode in each of the task's environments, starting from a reset."""
    observations = task.reset()
    returns = np.zeros(task.num_envs)
    lengths = np.zeros(task.num_envs, dtype=np.int64)
    running = np.ones(task.num_envs, dtype=bool)
    while running.any():
        result = task.step(act(observations))
        returns += result.rewards * running
        lengths += result.env_steps * running
        running &= ~(result.terminated | result.truncated)
        observations = result.observations
    return Episodes(returns, lengths)


def deterministic(policy: Policy, bounds: ActionBounds, device: torch.device) -> Act:
    """Return the policy's deterministic action in actuator units, with its statistics as they are."""

    def act(observations: FloatArray) -> FloatArray:
        with torch.no_grad():
            canonical = policy.act(torch.from_numpy(observations).to(device))
        return bounds.to_command(canonical.cpu().numpy())

    return act


def evaluate_file(path: Path, episodes: int, seed: int) -> Episodes:
    """Run an exported policy in the task that its metadata names, as a controller would.

    The file itself limits how fast its commands change, so the task only clips them.
    """
    policy = load_deployed(path)
    task = make_task(policy.task_config, episodes, seed)
    policy.reset()
    try:
        return run_episodes(policy.act, task)
    finally:
        task.close()


def evaluate_run(run_dir: Path, checkpoint: str, episodes: int, seed: int) -> Episodes:
    """Run the average policy of a run's checkpoint."""
    run = load_run(run_dir, checkpoint)
    task = make_task(run.config.task, episodes, seed)
    try:
        return run_episodes(deterministic(run.policy, task.spec.bounds, torch.device("cpu")), task)
    finally:
        task.close()


def _evaluate(config: EvaluateConfig) -> None:
    check_range("episodes", config.episodes, 1)
    if (config.policy is None) == (config.run is None):
        raise InputError("give exactly one of policy=FILE (an exported policy.pt) and run=DIR (a run folder)")
    if config.policy is not None:
        if config.checkpoint != "latest":
            raise InputError(
                f"checkpoint={config.checkpoint} goes with run=DIR; an exported file is one already"
            )
        episodes = evaluate_file(Path(config.policy), config.episodes, config.seed)
    else:
        episodes = evaluate_run(Path(str(config.run)), config.checkpoint, config.episodes, config.seed)
    for index, (value, length) in enumerate(zip(episodes.returns, episodes.lengths, strict=True)):
        print(f"episode {index}: return {value:.1f}, {length} environment steps")
    print(json.dumps(episodes.summary()))


def main() -> None:
    """Run `acer-eval`."""
    run_command("evaluate", EvaluateConfig, _evaluate)


if __name__ == "__main__":
    main()
