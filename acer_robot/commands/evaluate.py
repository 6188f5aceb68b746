"""`acer-eval`: the return of a run's exported policy or of an exported policy file, over whole episodes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.errors import InputError
from acer_robot.reporting.wandb_download import ARTIFACT_PREFIX, check_reference, download_policy
from acer_robot.run_folder.policy_path import given_policy, run_folder
from acer_robot.schema import ShownTask, check_range


@dataclass
class EvaluateConfig:
    """Options of `acer-eval`."""

    policy: str | None = None
    """An exported policy.pt, a run folder or its export/, or wandb:ENTITY/PROJECT/policy:VERSION, an artifact that
    acer-train logged."""
    run: str | None = None
    """A run folder. The exported policy of its checkpoint is evaluated."""
    checkpoint: str = "latest"
    """Which checkpoint of the run: latest, or best (the one with the highest evaluation)."""
    episodes: int = 10
    """Episodes to run."""
    seed: int = 0
    """Seed of the episodes."""
    task: ShownTask = field(default_factory=ShownTask)
    """What is changed of the policy's task."""


def check_job(config: EvaluateConfig) -> None:
    """Raise InputError for an option that cannot be used."""
    check_range("episodes", config.episodes, 1, 1_000_000)
    check_range("seed", config.seed, 0, 2**31 - 1)
    if (config.policy is None) == (config.run is None):
        raise InputError("give exactly one of policy=FILE (an exported policy.pt) and run=DIR (a run folder)")
    if config.policy is not None and config.checkpoint != "latest":
        raise InputError(f"checkpoint={config.checkpoint} needs run=DIR: an exported file holds one policy")
    if config.policy is not None and config.policy.startswith(ARTIFACT_PREFIX):
        check_reference(config.policy)


def _evaluate(config: EvaluateConfig) -> float:
    from acer_robot.deployment.score import evaluate_file, evaluate_run

    check_job(config)
    if config.policy is not None:
        with _local(config.policy) as file:
            episodes = evaluate_file(file, config.episodes, config.seed, config.task.velocity)
    else:
        episodes = evaluate_run(
            run_folder(Path(str(config.run))),
            config.checkpoint,
            config.episodes,
            config.seed,
            config.task.velocity,
        )
    for index, (value, length) in enumerate(zip(episodes.returns, episodes.lengths, strict=True)):
        print(f"episode {index}: return {value:.1f}, {length} environment steps")
    if episodes.command_change is not None:
        print(
            f"commands change by {episodes.command_change:.2f} ranges of their joint per second, on average"
        )
    if episodes.followed is not None:
        print(episodes.followed.line())
    print(json.dumps(episodes.summary()))
    return float(episodes.returns.mean())


@contextmanager
def _local(policy: str) -> Iterator[Path]:
    """Give the policy.pt; one that is an artifact of wandb lies in a folder that is removed at the end."""
    if not policy.startswith(ARTIFACT_PREFIX):
        yield given_policy(policy, None)
        return
    with tempfile.TemporaryDirectory(prefix="acer-policy-") as folder:
        yield download_policy(policy, Path(folder))


def main() -> None:
    """Run `acer-eval`."""
    run_command("evaluate", EvaluateConfig, _evaluate)


if __name__ == "__main__":
    main()
