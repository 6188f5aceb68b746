"""Writes down the first episodes of an exported file while they run."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from acer_robot.run_folder.recording import EPISODES, Recording, commands_of_an_episode
from acer_robot.spec import TaskSpec
from acer_robot.tasks.interface import StepResult


class Recorder:
    """Collects the steps of the first environments until each one's episode ends, or the recording is full."""

    def __init__(self, spec: TaskSpec, episodes: int) -> None:
        self._width, self._most = (
            spec.observation_size,
            commands_of_an_episode(spec.observation_size, spec.action_size),
        )
        self._count = min(EPISODES, episodes)
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
        self._lengths += ~self._ended
        self._ended |= (result.terminated | result.truncated)[rows].cpu()

    def recording(self) -> Recording:
        """Return what was seen, episode by episode."""
        observations, commands, rewards = (
            np.concatenate([part[: self._lengths[i], i] for i in range(self._count)])
            for part in (torch.stack(column).numpy() for column in zip(*self._steps, strict=True))
        )
        return Recording(observations, commands, rewards, self._lengths.numpy(), self._ended.numpy())
