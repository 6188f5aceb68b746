"""The one interface to every task: B environments stepped together, with true successors and resets.

Everything is a tensor on the task's device. Observations are float32. Rewards and commands are float64 on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.spec import TaskSpec

if TYPE_CHECKING:
    from mujoco import MjData, MjModel


@dataclass(frozen=True)
class StepResult:
    """What one command did in each of B environments."""

    observations: Tensor
    """[B, n] input of the next command. After the end of an episode it is the first observation of the next one."""
    next_observations: Tensor
    """[B, n] the *true* successor, never the observation after a reset."""
    rewards: Tensor
    """[B] summed over the action repeat."""
    terminated: Tensor
    """[B] bool: the task itself ended, so the value of the successor is 0."""
    truncated: Tensor
    """[B] bool: the episode was cut off. The successor keeps its value, unless the task ended in the same step."""
    env_steps: Tensor
    """[B] int64 environment steps that the command took: the action repeat, or fewer at the end of an episode."""
    failed: Tensor | None = None
    """[B] bool: the simulation of this environment broke down, so that the transition must not be used. The episode
    counts as truncated. None: the task raises instead."""


@dataclass(frozen=True)
class Measured:
    """The robot after one command."""

    positions: npt.NDArray[np.float32]
    """[J] rad, or m for a sliding joint."""
    velocities: npt.NDArray[np.float32]
    """[J] per second."""
    contacts: npt.NDArray[np.bool_]
    """[F] whether each foot touches what does not move."""
    terms: Mapping[str, float]
    """Terms of the reward, summed over the action repeat."""
    joint_names: tuple[str, ...]
    joint_units: tuple[str, ...]
    """rad or m."""
    foot_names: tuple[str, ...]


class VectorTask(Protocol):
    """B environments of one task on one device.

    Commands are in the units of `spec.bounds`. The task clips them to these bounds before the simulator sees them.
    After an episode ends, the next one starts within the same step.

    An observation has the width n = `spec.input_size`. Where `spec.observes_last_command` holds, it ends with the
    last command that the actuators got, as a canonical action.
    """

    spec: TaskSpec
    num_envs: int
    device: torch.device

    def reset(self) -> Tensor:
        """Start new episodes in all environments and return their observations [B, n]."""

    def step(self, commands: Tensor) -> StepResult:
        """Apply commands [B, d] in the units of `spec.bounds`, each for the action repeat.

        The caller may keep the returned tensors: the task does not write to them again.

        Raises:
            ValueError: if the shape is not [B, d].
            NonFiniteError: if a command, an observation or a reward is not finite.
        """

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture [H, W, 3] of environment 0, if the task was made with a `render_size`."""

    def simulation(self) -> tuple[MjModel, MjData] | None:
        """Return model and state of environment 0's MuJoCo simulation, for pictures; None: it has none."""

    def position(self) -> npt.NDArray[np.float64] | None:
        """Return the centre of mass [3] in metres of environment 0's robot; None: it has none that can move away."""

    def add_velocity(self, change: npt.NDArray[np.float64]) -> None:
        """Change the velocities [nv] of environment 0's MuJoCo simulation at once, as a push does."""

    @property
    def unstable_steps(self) -> int:
        """Steps after which MuJoCo reported an unstable simulation; tensor tasks count failed worlds instead."""

    def numbers(self) -> dict[str, float]:
        """Return the task's own numbers for a row of metrics.csv, since the last call; most tasks have none."""

    def measure(self, count: int) -> Callable[[], list[Measured]]:
        """Measure the first `count` environments from now on; what is returned tells what the last command did."""

    def close(self) -> None:
        """Free all environments."""

    def reseed(self, seed: int) -> None:
        """Let the next reset start the random streams anew from `seed`, as in a task that was made with it."""

    def state(self) -> dict[str, Any]:
        """Return everything that later steps depend on: plain numbers, texts and tensors.

        Raises:
            InputError: naming the part, if a part cannot be put into a file; a resumed run restarts the episodes.
        """

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was called, in a task that was made with the same options and seed.

        Raises:
            InputError: if the state does not fit; the task is then of no use any more.
        """


def command_limits(task: VectorTask) -> tuple[Tensor, Tensor]:
    """Return the lower and upper limits of the commands, [d] float64 each, on the task's device."""
    low, high = (
        torch.tensor(limit, dtype=torch.float64) for limit in (task.spec.bounds.low, task.spec.bounds.high)
    )
    return low.to(task.device), high.to(task.device)
