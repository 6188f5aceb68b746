"""Evaluations beside training, in another process: the learner goes on, and takes up the result when it is there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from acer_robot.distributed.segment import Weights, load_weights
from acer_robot.experience.episodes import deterministic, run_episodes
from acer_robot.experience.watchdog import watchdog
from acer_robot.learner.learner import Learner
from acer_robot.policies.build import build_actor
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.run_folder.checkpoints import config_from_dict
from acer_robot.schema import TrainConfig
from acer_robot.tasks import make_task

RETRIES = 3
"""How often an evaluation is repeated whose process or node is lost."""


def evaluate(config: dict[str, Any], seed: int, average: Weights, online: Weights) -> dict[str, float]:
    """Run whole episodes with two policies, as an evaluation in the learner's process does.

    This process ends if an environment hangs for longer than `step_timeout`; the learner then repeats the evaluation.

    Args:
        config: `dataclasses.asdict` of the run's TrainConfig.
        seed: seed of the episodes.
        average: weights of the exported policy.
        online: weights of the current policy.
    """
    torch.set_num_threads(1)
    options = config_from_dict(config)
    with watchdog(options.step_timeout, ends_process=True):
        return _evaluate(options, seed, average, online)


def _evaluate(options: TrainConfig, seed: int, average: Weights, online: Weights) -> dict[str, float]:
    task = make_task(options.task, options.eval_episodes, seed)
    try:
        spec = task.spec
        normalizer = ObservationNormalizer(spec.input_size, options.learner.normalize_observations)
        actor = build_actor(options.learner, spec.input_size, spec.action_size)
        policy = Policy(normalizer, actor).to(torch.float32)
        load_weights(policy, average)
        of_average = run_episodes(deterministic(policy, task), task)
        load_weights(policy, online)
        of_online = run_episodes(deterministic(policy, task), task) if options.eval_online else None
    finally:
        task.close()
    return {
        "eval/return_mean": float(of_average.returns.mean()),
        "eval/return_std": float(of_average.returns.std()),
        "eval/return_online": float("nan") if of_online is None else float(of_online.returns.mean()),
        "eval/length_mean": float(of_average.lengths.mean()),
    }


@dataclass
class Evaluation:
    """An evaluation on its way, and then its result."""

    step: int
    """Environment step."""
    seconds: float
    """Seconds of learning until then."""
    state: dict[str, Any]
    """`Learner.checkpoint_state()` of that step, to be kept if it is the best."""
    order: tuple[Any, ...]
    """Arguments of `evaluate`."""
    ticket: object = None
    row: dict[str, float] = dataclasses.field(default_factory=dict)
    """Numbers of eval.csv, once they are there."""


class Evaluations(Protocol):
    """The evaluations of a run that are on their way, the oldest first."""

    def __len__(self) -> int:
        """Return how many are on their way."""

    def begin(self, step: int, seconds: float, seed: int, learner: Learner, state: dict[str, Any]) -> None:
        """Send the present policies out to be evaluated."""

    def repeat(self) -> None:
        """Send the oldest evaluation out again, since it failed."""

    def finished(self, seconds: float = 0.0) -> Evaluation | None:
        """Return the oldest evaluation if its result is there within `seconds`; it is then no longer on its way.

        One that failed stays: `repeat` sends it out again.

        Raises:
            TaskError: if an environment failed, or the process was lost RETRIES times.
            InputError: if an episode does not end.
        """

    def close(self) -> None:
        """Drop what is on its way."""
