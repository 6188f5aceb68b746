"""Whole episodes with a policy: their returns and lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.policies.policy import Policy
from acer_robot.spec import to_command
from acer_robot.tasks import VectorTask, command_limits
from acer_robot.tasks.interface import StepResult

Act = Callable[[Tensor], Tensor]
"""From observations [B, n] of a task to commands [B, d] in actuator units, both on the task's device."""

Watch = Callable[[Tensor, Tensor, StepResult], None]
"""Gets the observations [B, n] acted on, the commands [B, d], and what they did."""

MAX_EPISODE_STEPS = 100_000
"""Environment steps after which an episode of a task without a time limit counts as one that never ends."""

MAX_ENVIRONMENTS = 16
"""Environments that score a policy, whatever the number of episodes: one of a large robot takes 80 MB."""


@dataclass(frozen=True)
class Episodes:
    """Whole episodes."""

    returns: npt.NDArray[np.float64]
    """[N] undiscounted sums of rewards."""
    lengths: npt.NDArray[np.int64]
    """[N] environment steps, action repeat counted."""

    def summary(self) -> dict[str, object]:
        """Return what `acer-eval` prints: mean and standard deviation over episodes, and every return."""
        return {
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "returns": [float(value) for value in self.returns],
            "length_mean": float(self.lengths.mean()),
        }


def run_episodes(
    act: Act, task: VectorTask, between_steps: Callable[[], None] | None = None, watch: Watch | None = None
) -> Episodes:
    """Run one whole episode in each of the task's environments, starting from a reset.

    `between_steps` is called before each step; it may raise, to end the episodes early. `watch` sees every step.

    Raises:
        InputError: if an episode goes on for MAX_EPISODE_STEPS, or the task's own time limit if that is longer.
    """
    longest = max(MAX_EPISODE_STEPS, task.spec.time_limit)
    observations = task.reset()
    returns = torch.zeros(task.num_envs, dtype=torch.float64, device=task.device)
    lengths = torch.zeros(task.num_envs, dtype=torch.int64, device=task.device)
    running = torch.ones(task.num_envs, dtype=torch.bool, device=task.device)
    while running.any():
        if between_steps is not None:
            between_steps()
        commands = act(observations)
        result = task.step(commands)
        if watch is not None:
            watch(observations, commands, result)
        returns += result.rewards * running
        lengths += result.env_steps * running
        running &= ~(result.terminated | result.truncated)
        observations = result.observations
        if (running & (lengths >= longest)).any():
            raise InputError(_endless(task.spec.id, longest))
    return Episodes(returns.cpu().numpy(), lengths.cpu().numpy())


def run_rounds(
    act: Act, task: VectorTask, episodes: int, start: Callable[[], object], watch: Watch | None = None
) -> Episodes:
    """Run `episodes` whole episodes, as many at a time as the task has environments.

    Args:
        act: the policy.
        task: its environments; each round starts from a reset, which continues their random streams.
        episodes: how many to run; the surplus of the last round is left out.
        start: called before each round, as a policy with a memory needs it.
        watch: sees every step of the first round.

    Raises:
        InputError: if an episode does not end.
    """
    rounds = []
    for number in range(-(-episodes // task.num_envs)):
        start()
        rounds.append(run_episodes(act, task, watch=watch if number == 0 else None))
    returns = np.concatenate([done.returns for done in rounds])[:episodes]
    lengths = np.concatenate([done.lengths for done in rounds])[:episodes]
    return Episodes(returns, lengths)


def check_episodes_end(task: VectorTask) -> None:
    """Run one episode of random commands in each environment of a task without a time limit.

    Raises:
        InputError: if an episode does not end, for then no evaluation would.
    """
    random, shape = torch.Generator().manual_seed(0), (task.num_envs, task.spec.action_size)
    low, high = command_limits(task)

    def act(_: Tensor) -> Tensor:
        canonical = 2.0 * torch.rand(shape, generator=random, dtype=torch.float64) - 1.0
        return to_command(canonical.to(task.device), low, high)

    run_episodes(act, task)


def _endless(task_id: str, steps: int) -> str:
    limit = "time_limit: 20" if task_id.startswith("dm_control/") else "max_episode_steps: 1000"
    return (
        f"task {task_id!r} has no time limit, and an episode did not end within {steps:,} environment steps; "
        f"give it a limit: task.kwargs={{{limit}}}"
    )


def deterministic(policy: Policy, task: VectorTask) -> Act:
    """Return the policy's deterministic action in actuator units, with its statistics as they are.

    A policy of before 0.2.0 gets the observation without the last command.
    """
    statistics = policy.normalizer.mean
    width, device = statistics.numel(), statistics.device
    low, high = command_limits(task)

    def act(observations: Tensor) -> Tensor:
        with torch.no_grad():
            canonical = policy.act(observations[:, :width].to(device))
        return to_command(canonical.to(task.device), low, high)

    return act
