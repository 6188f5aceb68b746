"""The control loop: an exported policy at its control rate, as a robot would run it, with faults on request."""

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

WARM_UP_CALLS = 50
"""TorchScript compiles during the first calls, which are slow."""


@dataclass(frozen=True)
class LoopOptions:
    """How a control loop is run, and the faults that it is given."""

    episodes: int = 1
    """Episodes, one after the other."""
    seed: int = 0
    """Seed of the observation noise."""
    max_steps: int | None = None
    """Commands after which an episode is left; None: at its end."""
    observation_noise: float = 0.0
    """Standard deviation of Gaussian noise on every entry of the observation, in the entry's own unit."""
    action_delay: int = 0
    """Commands by which each is late at the simulator, which gets the command at rest until the first arrives."""


@dataclass
class Outcome:
    """What a control loop did."""

    returns: list[float] = field(default_factory=list)
    """Sum of rewards of each episode, the last one up to where it was stopped."""
    lengths: list[int] = field(default_factory=list)
    """Commands in each episode."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from each observation to its command."""
    stopped: str | None = None
    """What ended the loop early: "q", "Ctrl-C", the name of another signal, or None."""


class Controller:
    """An exported policy between a task's observations and its commands, with the faults that were asked for."""

    def __init__(self, policy: LoadedPolicy, task: VectorTask, options: LoopOptions) -> None:
        self._policy, self._task, self._options = policy, task, options
        self._noise = torch.Generator().manual_seed(options.seed)
        self._rest = torch.from_numpy(fallback_command(task.spec.bounds))
        self._max_steps = math.inf if options.max_steps is None else options.max_steps
        for _ in range(WARM_UP_CALLS):
            policy.act(torch.zeros(task.spec.observation_size))

    def run(self, pacer: Pacer, stop: Callable[[], bool]) -> Outcome:
        """Run the episodes, until they are over, `stop()` holds, Ctrl-C is pressed, or a signal ends it."""
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
        pending: deque[Tensor] = deque([self._rest] * self._options.action_delay)
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
