"""The control loop: it runs an exported policy at its control rate, as a robot would. It can add faults."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acer_robot.deployment.pacing import Pacer
from acer_robot.policies.exported.file import LoadedPolicy
from acer_robot.spec import fallback_command
from acer_robot.tasks import VectorTask


@dataclass(frozen=True)
class LoopOptions:
    """Options of a control loop, and the faults that it adds."""

    episodes: int = 1
    """Episodes to run, one after the other."""
    seed: int = 0
    """Seed of the observation noise."""
    max_steps: int | None = None
    """Largest number of commands in an episode; None: run each episode to its end."""
    observation_noise: float = 0.0
    """Standard deviation of Gaussian noise on every entry of the observation, in the entry's own unit."""
    command_delay: int = 0
    """Delay of each command in control periods. Until the first one arrives the simulator gets the command at rest."""


@dataclass
class Outcome:
    """Results of a control loop."""

    returns: list[float] = field(default_factory=list)
    """Sum of rewards of each episode. If the loop was stopped, the last sum ends there."""
    lengths: list[int] = field(default_factory=list)
    """Commands in each episode."""
    latencies: list[float] = field(default_factory=list)
    """Seconds that the policy took for each command."""
    stopped: str | None = None
    """What ended the loop early: "q", "Ctrl-C" or the name of another signal. None: it ran to its end."""


class Controller:
    """Runs an exported policy in a task, with the faults that the options request."""

    def __init__(self, policy: LoadedPolicy, task: VectorTask, options: LoopOptions) -> None:
        self._policy, self._task, self._options = policy, task, options
        self._noise = torch.Generator().manual_seed(options.seed)
        self._rest = torch.from_numpy(fallback_command(task.spec.bounds))
        self._max_steps = math.inf if options.max_steps is None else options.max_steps
        policy.warm_up()

    def run(self, pacer: Pacer, stop: Callable[[], bool]) -> Outcome:
        """Run the episodes. `stop()`, Ctrl-C or another signal ends them early."""
        outcome = Outcome()
        try:
            for _ in range(self._options.episodes):
                if self._episode(outcome, pacer, stop):
                    outcome.stopped = "q"
                    break
        except KeyboardInterrupt as error:
            outcome.stopped = str(error) or "Ctrl-C"
        return outcome

    def _episode(self, outcome: Outcome, pacer: Pacer, stop: Callable[[], bool]) -> bool:
        """Run one episode; return whether `stop()` ended it."""
        observation, done = self._task.reset()[0], False
        self._policy.reset()
        pending: deque[Tensor] = deque([self._rest] * self._options.command_delay)
        outcome.returns.append(0.0)
        outcome.lengths.append(0)
        pacer.restart()
        while not done and outcome.lengths[-1] < self._max_steps:
            if stop():
                return True
            pacer.wait()
            pending.append(self._command(observation, outcome))
            result = self._task.step(pending.popleft()[None])
            outcome.returns[-1] += float(result.rewards[0])
            outcome.lengths[-1] += 1
            observation, done = result.observations[0], bool(result.terminated[0] or result.truncated[0])
        return False

    def _command(self, observation: Tensor, outcome: Outcome) -> Tensor:
        noise = torch.randn(observation.shape, generator=self._noise)
        noisy = observation + self._options.observation_noise * noise
        start = time.perf_counter()
        command = self._policy.act(noisy)
        outcome.latencies.append(time.perf_counter() - start)
        return command
