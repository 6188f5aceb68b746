"""Steps a vector task with the behaviour policy and stores what happened, together with the statistics of mu."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.generator import restore_generator
from acer_robot.policies.policy import Policy
from acer_robot.spec import to_command
from acer_robot.tasks import VectorTask, command_limits

RECENT = 1000
"""Commands that are remembered, to repeat what led to a failure."""


class Collector:
    """One vector step at a time: sample from the policy, act, store, learn the observation statistics."""

    def __init__(
        self, task: VectorTask, policy: Policy, replay: Replay, device: torch.device, seed: int
    ) -> None:
        self.task, self.policy, self.replay, self.device = task, policy, replay, device
        self.env_steps = 0
        """Environment steps so far, action repeat counted."""
        self.transitions = 0
        """Commands so far, over all environments."""
        self.commands: deque[Tensor] = deque(maxlen=RECENT)
        """The last commands [B, d], since they were cleared."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self._limits = command_limits(task)
        self._observations = task.reset()
        self.outliers = torch.zeros(self._observations.shape[-1], dtype=torch.int64, device=device)
        """Values of each entry of the observation that were too far away for the statistics."""
        self._returns = torch.zeros(task.num_envs, dtype=torch.float64, device=task.device)
        self._reads = task.device.type == "cpu"
        self._unread: list[Tensor] = []
        """Of each step on a GPU since `finished` was called: the returns that ended with it [B], NaN for the others."""

    def state(self) -> dict[str, Any]:
        """Return counters, generator, what is acted on next and the returns so far; the task gives its own state."""
        return {
            "env_steps": self.env_steps,
            "transitions": self.transitions,
            "generator": self._generator.get_state(),
            "observations": self._observations.cpu().clone(),
            "returns": self._returns.cpu().clone(),
            "outliers": self.outliers.cpu().clone(),
        }

    def restore(self, state: dict[str, Any], episodes: bool = True) -> None:
        """Go on where `state` was called; without `episodes` those of the task begin anew."""
        self.env_steps, self.transitions = state["env_steps"], state["transitions"]
        restore_generator(self._generator, state["generator"])
        if "outliers" in state:  # since 0.2.0
            self.outliers.copy_(state["outliers"])
        if episodes:
            self._observations = state["observations"].to(self.task.device)
            self._returns = state["returns"].to(self.task.device)

    def numbers(self) -> dict[str, float]:
        """Return the numbers of the task for a row of metrics.csv, since the last call."""
        return {
            "rollout/unstable_steps": float(self.task.unstable_steps),
            **self.task.numbers(),
        }

    def close(self) -> None:
        """Do nothing: who made the task closes it."""

    def reseed(self, seed: int) -> None:
        """Begin another stream of exploration noise."""
        self._generator.manual_seed(seed)

    @torch.no_grad()
    def step(self) -> list[float]:
        """Do one step in every environment and return the returns of the episodes that ended with it.

        On a GPU it returns none, because each read would stop the simulation: `finished` returns them.

        Raises:
            NonFiniteError, TaskError: if the task's step fails; nothing of that step is stored.
        """
        observations = self._observations.to(self.device)
        self.outliers += self.policy.normalizer.update(observations).sum(0)
        mean, log_std = self.policy(observations)
        noise = torch.randn(mean.shape, generator=self._generator, device=self.device)
        actions = mean + log_std.exp() * noise
        canonical = self.policy.actor.squash(actions).to(self.task.device)
        commands = to_command(canonical, *self._limits)
        self.commands.append(commands)
        result = self.task.step(commands)
        self.replay.add(
            Trajectory(
                observations,
                result.next_observations.to(self.device),
                actions,
                result.rewards.to(self.device, torch.float32),
                result.terminated.to(self.device),
                result.truncated.to(self.device),
                mean,
                log_std,
            ),
            None if result.failed is None else result.failed.to(self.device),
        )
        self._observations = result.observations
        self.transitions += self.task.num_envs
        self._returns += result.rewards
        ended = result.terminated | result.truncated
        if not self._reads:
            self.env_steps += self.task.num_envs  # tensor tasks have no action repeat
            self._unread.append(torch.where(ended, self._returns, torch.nan))
            self._returns.masked_fill_(ended, 0.0)
            return []
        self.env_steps += int(result.env_steps.sum())
        finished: list[float] = self._returns[ended].tolist()
        self._returns[ended] = 0.0
        return finished

    def finished(self) -> list[float]:
        """Return the returns of the episodes that ended on a GPU since the last call, in the order of their ends."""
        if not self._unread:
            return []
        returns = torch.stack(self._unread).flatten()
        self._unread = []
        ended: list[float] = returns[~returns.isnan()].tolist()
        return ended
