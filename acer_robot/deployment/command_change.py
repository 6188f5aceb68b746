"""How much a policy's commands change in a second: what wears motors and gears, and shakes a robot."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.tasks import VectorTask, command_limits
from acer_robot.tasks.interface import StepResult


class CommandMeter:
    """Watches the first episode of each environment."""

    def __init__(self, task: VectorTask) -> None:
        """Take the task whose commands are watched."""
        self._low, self._high = command_limits(task)
        self._dt = task.spec.control_dt
        self._running = torch.ones(task.num_envs, dtype=torch.bool, device=task.device)
        self._before: Tensor | None = None
        self._sum, self._count = 0.0, 0

    def __call__(self, observations: Tensor, commands: Tensor, result: StepResult) -> None:
        """Take in one step."""
        commands = commands.to(self._low.device, torch.float64)
        commands = torch.minimum(torch.maximum(commands, self._low), self._high)
        if self._before is not None:
            span = (self._high - self._low).clamp_min(1e-9)
            change = ((commands - self._before).abs() / span)[self._running]
            self._sum, self._count = self._sum + float(change.sum()), self._count + change.numel()
        self._before = commands
        self._running &= ~(result.terminated | result.truncated)

    def per_second(self) -> float | None:
        """Return the mean of |change| in ranges of the joint per second, over joints, steps and episodes.

        None: no episode had two commands.
        """
        return self._sum / self._count / self._dt if self._count else None
