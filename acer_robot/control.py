"""`acer-deploy`: run an exported policy at its control rate, as a robot would, with statistics of deadlines."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acer_robot.command import run_command
from acer_robot.config import DeployConfig, check_range
from acer_robot.errors import InputError
from acer_robot.pacing import Pacer, percentiles, stop_key
from acer_robot.policies.deployed import LoadedPolicy, load_deployed
from acer_robot.spec import FloatArray, TaskSpec, fallback_command
from acer_robot.tasks import VectorTask, make_task

WARM_UP_CALLS = 50
"""TorchScript compiles during the first calls, which are slow."""


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
    """What ended the loop early: "q", "Ctrl-C" or None."""


class Controller:
    """An exported policy between a task's observations and its commands, with the faults that were asked for."""

    def __init__(self, policy: LoadedPolicy, task: VectorTask, config: DeployConfig) -> None:
        self._policy, self._task, self._config = policy, task, config
        self._noise = np.random.default_rng(config.seed)
        self._rest = fallback_command(task.spec.bounds)
        self._max_steps = math.inf if config.max_steps is None else config.max_steps
        for _ in range(WARM_UP_CALLS):
            policy.act(np.zeros(task.spec.observation_size, np.float32))

    def run(self, pacer: Pacer, stop: Callable[[], bool]) -> Outcome:
        """Run the episodes, until they are over, `stop()` holds, or Ctrl-C is pressed."""
        outcome = Outcome()
        try:
            for _ in range(self._config.episodes):
                if self._episode(outcome, pacer, stop):
                    outcome.stopped = "q"
                    break
        except KeyboardInterrupt:
            outcome.stopped = "Ctrl-C"
        return outcome

    def _episode(self, outcome: Outcome, pacer: Pacer, stop: Callable[[], bool]) -> bool:
        """Run one episode; return whether `stop()` ended it."""
        observation, done = self._task.reset()[0], False
        self._policy.reset()
        pending: deque[FloatArray] = deque([self._rest] * self._config.action_delay)
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

    def _command(self, observation: FloatArray, outcome: Outcome) -> FloatArray:
        noise = self._config.observation_noise * self._noise.standard_normal(observation.shape)
        noisy = (observation + noise).astype(np.float32)
        start = time.perf_counter()
        command = self._policy.act(noisy)
        outcome.latencies.append(time.perf_counter() - start)
        return command


def deploy(config: DeployConfig) -> dict[str, Any]:
    """Run an exported policy in its task, paced; return what `acer-deploy` prints as JSON.

    It reads nothing but the file (and policy.json beside it, for the hash) and the task.

    Raises:
        InputError: if an option or the file cannot be used, or the task is not the one the file was made for.
    """
    _check(config)
    policy = load_deployed(Path(config.policy))
    task = make_task(policy.task_config, 1, config.seed)
    try:
        check_same_robot(policy.spec, task.spec)
        torch.set_num_threads(1)
        pacer = Pacer(task.spec.control_dt / config.rate if config.rate > 0.0 else 0.0)
        controller = Controller(policy, task, config)
        with stop_key() as stop:
            outcome = controller.run(pacer, stop)
    finally:
        task.close()
    return {
        "returns": outcome.returns,
        "lengths": outcome.lengths,
        "stopped": outcome.stopped,
        "control_dt": task.spec.control_dt,
        "rate": config.rate,
        "commands": len(outcome.latencies),
        "deadline_misses": pacer.misses if config.rate > 0.0 else None,
        "jitter_us": percentiles(pacer.lateness),
        "latency_us": percentiles(outcome.latencies),
    }


def check_same_robot(policy: TaskSpec, task: TaskSpec) -> None:
    """Raise InputError unless observations, joints, bounds and control rate of file and task are the same."""
    for name in ("observation", "bounds", "control_dt"):
        theirs, ours = getattr(policy, name), getattr(task, name)
        if theirs != ours:
            raise InputError(
                f"the task here differs from the one in the file in its {name}: {ours}, not {theirs}; "
                f"install the simulator that the file names, or export again"
            )


def _check(config: DeployConfig) -> None:
    check_range("episodes", config.episodes, 1)
    check_range("action_delay", config.action_delay, 0)
    largest = float(np.finfo(np.float32).max)
    check_range("rate", config.rate, 0.0, largest)
    check_range("observation_noise", config.observation_noise, 0.0, largest)
    if config.max_steps is not None:
        check_range("max_steps", config.max_steps, 1)


def _deploy(config: DeployConfig) -> None:
    summary = deploy(config)
    for index, (value, length) in enumerate(zip(summary["returns"], summary["lengths"], strict=True)):
        print(f"episode {index}: return {value:.1f}, {length} commands")
    if summary["stopped"]:
        print(f"stopped by {summary['stopped']}")
    if summary["deadline_misses"] is not None:
        print(f"missed {summary['deadline_misses']} of {summary['commands']} deadlines")
    for name in ("jitter_us", "latency_us"):
        if summary[name]:
            print(name, ", ".join(f"{key} {value}" for key, value in summary[name].items()))
    print(json.dumps(summary))


def main() -> None:
    """Run `acer-deploy`."""
    run_command("deploy", DeployConfig, _deploy)


if __name__ == "__main__":
    main()
