"""Writes down the first episodes of an exported file while they run."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from acer_robot.run_folder.recording import EPISODES, Recording, Traces, commands_of_an_episode
from acer_robot.spec import TaskSpec
from acer_robot.tasks import VectorTask
from acer_robot.tasks.interface import Measured, StepResult


class Recorder:
    """Collects the steps of the first environments until each one's episode ends, or the recording is full."""

    def __init__(self, spec: TaskSpec, episodes: int, task: VectorTask | None) -> None:
        self._width, self._most = (
            spec.observation_size,
            commands_of_an_episode(spec.observation_size, spec.action_size),
        )
        self._count = min(EPISODES, episodes)
        self._measure = task.measure(self._count) if task is not None else None
        self._measured: list[list[Measured]] = []
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []
        self._lengths = torch.zeros(self._count, dtype=torch.int64)
        self._ended = torch.zeros(self._count, dtype=torch.bool)

    def watch(self, observations: Tensor, commands: Tensor, result: StepResult) -> None:
        """Take one step of all environments."""
        if len(self._steps) == self._most or bool(self._ended.all()):
            return
        rows = slice(self._count)
        self._steps.append(
            (
                observations[rows, : self._width].cpu().float().clone(),
                commands[rows].cpu().float().clone(),
                result.rewards[rows].cpu().float().clone(),
            )
        )
        if self._measure is not None:
            self._measured.append(self._measure())
        self._lengths += ~self._ended
        self._ended |= (result.terminated | result.truncated)[rows].cpu()

    def recording(self) -> Recording:
        """Return what was seen, episode by episode."""
        observations, commands, rewards = (
            np.concatenate([part[: self._lengths[i], i] for i in range(self._count)])
            for part in (torch.stack(column).numpy() for column in zip(*self._steps, strict=True))
        )
        lengths = self._lengths.numpy()
        return Recording(observations, commands, rewards, lengths, self._ended.numpy(), *self._traces())

    def _traces(self) -> tuple[Traces | None, Traces | None, Traces | None]:
        """Return joints, feet and terms of the reward; None where the task has none."""
        if not self._measured:
            return None, None, None
        rows = [self._measured[t][i] for i in range(self._count) for t in range(int(self._lengths[i]))]
        first, terms = rows[0], list(dict.fromkeys(name for row in rows for name in row.terms))
        joints = np.array([np.concatenate([row.positions, row.velocities]) for row in rows], np.float32)
        feet = np.array([row.contacts for row in rows], np.float32)
        values = np.array([[row.terms.get(name, 0.0) for name in terms] for row in rows], np.float32)
        return (
            Traces(first.joint_names, joints, first.joint_units) if first.joint_names else None,
            Traces(first.foot_names, feet) if first.foot_names else None,
            Traces(tuple(terms), values) if terms else None,
        )
