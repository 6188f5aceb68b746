"""Steps a vector task with the behaviour policy and stores what happened, together with the statistics of mu."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from acer_robot.errors import NonFiniteError
from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.policies.policy import Policy
from acer_robot.tasks import VectorTask


class Collector:
    """One vector step at a time: sample from the policy, act, check, store, learn the observation statistics."""

    def __init__(
        self,
        task: VectorTask,
        policy: Policy,
        replay: Replay,
        device: torch.device,
        seed: int,
    ) -> None:
        self.task, self.policy, self.replay, self.device = task, policy, replay, device
        self.env_steps = 0
        """Environment steps so far, action repeat counted."""
        self.transitions = 0
        """Commands so far, over all environments."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self._observations = task.reset()
        self._returns = np.zeros(task.num_envs)
        self._finite("observation", self._observations)

    @torch.no_grad()
    def step(self) -> list[float]:
        """Do one step in every environment and return the returns of the episodes that ended with it.

        Raises:
            NonFiniteError: if an observation or a reward is NaN or infinite; nothing of that step is stored.
        """
        observations = torch.from_numpy(self._observations).to(self.device)
        self.policy.normalizer.update(observations)
        mean, log_std = self.policy(observations)
        noise = torch.randn(mean.shape, generator=self._generator, device=self.device)
        actions = mean + log_std.exp() * noise
        canonical = self.policy.actor.squash(actions).cpu().numpy()
        result = self.task.step(self.task.spec.bounds.to_command(canonical))
        self._finite("observation", result.observations, result.next_observations)
        self._finite("reward", result.rewards)
        self.replay.add(
            Trajectory(
                observations,
                torch.from_numpy(result.next_observations).to(self.device),
                actions,
                torch.from_numpy(result.rewards).to(self.device, torch.float32),
                torch.from_numpy(result.terminated).to(self.device),
                torch.from_numpy(result.truncated).to(self.device),
                mean,
                log_std,
            )
        )
        self._observations = result.observations
        self.env_steps += int(result.env_steps.sum())
        self.transitions += self.task.num_envs
        self._returns += result.rewards
        ended = result.terminated | result.truncated
        finished: list[float] = self._returns[ended].tolist()
        self._returns[ended] = 0.0
        return finished

    def _finite(self, name: str, *values: npt.NDArray[np.floating]) -> None:
        for value in values:
            if not np.isfinite(value).all():
                where = sorted({int(index) for index in np.argwhere(~np.isfinite(value))[:, 0]})
                raise NonFiniteError(
                    f"{name} of {self.task.spec.id} is not finite in environment(s) {where} "
                    f"at environment step {self.env_steps}"
                )
