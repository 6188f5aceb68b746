"""The return of a run's exported policy or of a policy file, over whole episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from acer_robot.deployment.command_change import CommandMeter
from acer_robot.deployment.followed import Followed, velocity_meter
from acer_robot.experience.episodes import MAX_ENVIRONMENTS, Act, Episodes, deterministic, run_rounds
from acer_robot.policies.exported.file import load_exported
from acer_robot.run_folder.checkpoints import load_run
from acer_robot.spec import check_same_robot
from acer_robot.tasks import StepResult, VectorTask, make_task, with_velocity


@dataclass(frozen=True)
class Scored(Episodes):
    """Whole episodes, and what was measured in the first of them: one in each environment."""

    command_change: float | None
    """Mean |change| of a command in ranges of its joint per second; None: no episode had two commands."""
    followed: Followed | None
    """None: the task commands no velocity."""

    def summary(self) -> dict[str, object]:
        """Return what `acer-eval` prints last."""
        velocity = {} if self.followed is None else {"velocity": asdict(self.followed)}
        return super().summary() | {"command_change": self.command_change} | velocity


def evaluate_file(path: Path, episodes: int, seed: int, velocity: Sequence[float] | None = None) -> Scored:
    """Run a policy file in the task that its metadata names, as a controller would.

    The file limits how fast its commands change. The task therefore has no such limit and only clips commands.

    A robot follows `velocity` where it is given.

    Raises:
        InputError: if the task here is not the one that the file was exported for, or it follows no velocity.
    """
    policy = load_exported(path)
    task = make_task(with_velocity(policy.task_config, velocity), min(episodes, MAX_ENVIRONMENTS), seed)
    try:
        check_same_robot(policy.spec, task.spec)
        return _scored(policy.act, task, episodes, policy.reset)
    finally:
        task.close()


def evaluate_run(
    run_dir: Path, checkpoint: str, episodes: int, seed: int, velocity: Sequence[float] | None = None
) -> Scored:
    """Run the exported policy of a run's checkpoint. A robot follows `velocity` where it is given.

    Raises:
        InputError: if the task here is not the one that the run was trained in, or it follows no velocity.
    """
    run = load_run(run_dir, checkpoint)
    task = make_task(with_velocity(run.config.task, velocity), min(episodes, MAX_ENVIRONMENTS), seed)
    try:
        check_same_robot(run.spec, task.spec)
        return _scored(deterministic(run.policy, task), task, episodes, lambda: None)
    finally:
        task.close()


def _scored(act: Act, task: VectorTask, episodes: int, start: Callable[[], object]) -> Scored:
    """Run the episodes and measure in the first round of them."""
    meter, change = velocity_meter(task), CommandMeter(task)

    def watch(observations: Tensor, commands: Tensor, result: StepResult) -> None:
        change(observations, commands, result)
        if meter is not None:
            meter(observations, commands, result)

    done = run_rounds(act, task, episodes, start, watch=watch)
    followed = None if meter is None else meter.followed()
    return Scored(done.returns, done.lengths, change.per_second(), followed)
