"""A simulated task as a plant: MuJoCo in the place of the robot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from acer_robot.deployment.control_loop import LoopOptions
from acer_robot.deployment.plant import Vector
from acer_robot.spec import fallback_command
from acer_robot.tasks import VectorTask


class TaskPlant:
    """One environment of a task, with the noise and the delay that the options request.

    Each write is one control step. Commands after the end of the episode, or after `max_steps`, still move the
    simulator, but count no more.
    """

    def __init__(self, task: VectorTask, options: LoopOptions, now: Callable[[], float]) -> None:
        self._task, self._options, self._now = task, options, now
        self._noise = torch.Generator().manual_seed(options.seed)
        self._rest = torch.from_numpy(fallback_command(task.spec.bounds)).float()
        self._pending: deque[Tensor] = deque()
        self._observation, self._stamp = torch.zeros(0), 0.0
        self.total, self.length, self.ended = 0.0, 0, False

    def connect(self) -> None:
        """Start an episode."""
        self._pending = deque([self._rest] * self._options.command_delay)
        self.total, self.length, self.ended = 0.0, 0, False
        # As old as every later one is when it is read, so that the clock need not pass before the second tick.
        self._observe(self._task.reset()[0], self._now() - self._task.spec.control_dt)

    def describe(self) -> Mapping[str, Any]:
        """Return the task's joints, bounds and control period."""
        bounds = self._task.spec.bounds
        pairs = [list(pair) for pair in zip(bounds.low, bounds.high, strict=True)]
        return {"joints": list(bounds.names), "bounds": pairs, "dt": self._task.spec.control_dt}

    def read(self) -> tuple[Vector, float]:
        """Return the observation after the last command."""
        return self._observation.numpy(), self._stamp

    def write(self, command: Vector) -> None:
        """Step the simulator."""
        self._pending.append(torch.from_numpy(command))
        result = self._task.step(self._pending.popleft()[None])
        most = self._options.max_steps
        if not self.ended and (most is None or self.length < most):
            self.total += float(result.rewards[0])
            self.length += 1
            self.ended = bool(result.terminated[0] or result.truncated[0])
        self._observe(result.observations[0], self._now())

    def close(self) -> None:
        """Do nothing: the caller made the task and closes it."""

    def _observe(self, observation: Tensor, stamp: float) -> None:
        width = self._task.spec.observation_size
        noise = torch.randn(observation.shape, generator=self._noise)
        self._observation = (
            (observation + self._options.observation_noise * noise)[:width].float().contiguous()
        )
        self._stamp = stamp
