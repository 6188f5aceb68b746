"""How well a robot follows a commanded velocity, from its positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acer_robot.spec import TaskSpec
from acer_robot.tasks import VectorTask
from acer_robot.tasks.interface import StepResult
from acer_robot.tasks.robot.rotation import velocity_between
from acer_robot.tasks.robot.velocity import AXIS_NAMES
from acer_robot.tasks.tensor.vector_task import TensorVectorTask

BEGINNING = 1.0
"""Seconds at the start of an episode that are left out: the robot begins at rest."""


@dataclass(frozen=True)
class Followed:
    """Velocities [vx, vy, yaw rate] in m/s and rad/s: means over episodes that lasted for more than BEGINNING."""

    commanded: tuple[float, ...]
    achieved: tuple[float, ...]
    error: tuple[float, ...]
    """Mean over episodes of |achieved - commanded|, of the means of each."""
    episodes: int

    def line(self) -> str:
        """Return what `acer-eval` prints."""
        if not self.episodes:
            return f"velocity: no episode lasted for more than {BEGINNING:g} s"
        units = ("m/s", "m/s", "rad/s")
        parts = [
            f"{name} {achieved:.3f} of {commanded:.3f} {unit} (error {error:.3f})"
            for name, achieved, commanded, unit, error in zip(
                AXIS_NAMES, self.achieved, self.commanded, units, self.error, strict=True
            )
        ]
        return (
            f"velocity: {', '.join(parts)}; means of {self.episodes} episodes, from positions after the first "
            f"{BEGINNING:g} s"
        )


class VelocityMeter:
    """Watches the first episode of each environment of a robot that follows a velocity."""

    def __init__(self, task: TensorVectorTask, command: list[int]) -> None:
        """Take the task and the places of the commanded velocity in the observation."""
        self._task, self._command = task, command
        zeros = torch.zeros(task.num_envs, len(AXIS_NAMES), dtype=torch.float64)
        self._achieved, self._commanded = zeros, zeros.clone()
        self._counts = torch.zeros(task.num_envs, 1, dtype=torch.float64)
        self._running = torch.ones(task.num_envs, dtype=torch.bool)
        self._before: Tensor | None = None
        self._steps = 0

    def __call__(self, observations: Tensor, commands: Tensor, result: StepResult) -> None:
        """Take in one step. A step that ends an episode is left out: the next one has begun after it."""
        self._running &= ~(result.terminated | result.truncated).cpu()
        after, dt = self._task.base_poses().cpu().to(torch.float64), self._task.spec.control_dt
        self._steps += 1
        if self._before is not None and (self._steps - 1) * dt >= BEGINNING:
            counted = self._running.unsqueeze(1)
            self._achieved += velocity_between(self._before, after, dt) * counted
            self._commanded += observations[:, self._command].cpu() * counted
            self._counts += counted
        self._before = after

    def followed(self) -> Followed:
        """Return the means."""
        seen = self._counts[:, 0] > 0
        counts = self._counts[seen]
        achieved, commanded = self._achieved[seen] / counts, self._commanded[seen] / counts
        wanted, found, errors = (
            tuple(values.mean(0).tolist()) for values in (commanded, achieved, (achieved - commanded).abs())
        )
        return Followed(wanted, found, errors, int(seen.sum()))


def velocity_meter(task: VectorTask) -> VelocityMeter | None:
    """Return what measures a robot's velocity; None: the task commands none."""
    command = places(task.spec)
    if command is None or not isinstance(task, TensorVectorTask):
        return None
    return VelocityMeter(task, command)


def places(spec: TaskSpec) -> list[int] | None:
    """Return where in the observation the commanded velocity stands; None: nowhere."""
    fields = {field.name: field.start for field in spec.observation}
    names = [f"command:{name}" for name in AXIS_NAMES]
    return [fields[name] for name in names] if all(name in fields for name in names) else None
