"""A policy that runs live in a viewer, with pause, push and reset."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from acer_robot.deployment.pacing import Pacer
from acer_robot.reporting.shown import ActingPolicy
from acer_robot.spec import fallback_command
from acer_robot.tasks import VectorTask

PAUSED = 1 / 60
"""Seconds between two pictures while the robot stands still."""


class Viewer(Protocol):
    """What shows the robot."""

    def is_open(self) -> bool:
        """Whether the window is still there."""

    def show(self) -> None:
        """Show the present state."""

    def pressed(self) -> list[str]:
        """Return what was asked for since the last call: pause, push, reset."""


class RestPolicy:
    """The command at rest, whatever is observed."""

    def __init__(self, task: VectorTask) -> None:
        self._command = torch.from_numpy(fallback_command(task.spec.bounds))[None]

    def reset(self) -> None:
        """Start a new episode: there is nothing to forget."""

    def act(self, observations: Tensor) -> Tensor:
        """Return the command at rest [1, m] in actuator units."""
        return self._command


def run_live(
    policy: ActingPolicy,
    task: VectorTask,
    view: Viewer,
    push: Callable[[], None],
    pacer: Pacer,
    paused: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Run a policy until the window is closed; return the returns of the episodes that ended.

    Args:
        policy: what acts.
        task: one environment.
        view: the window, and the keys pressed in it.
        push: what pushes the robot.
        pacer: keeps the control rate.
        paused: whether the robot stands still until somebody asks for more.
        sleep: waits while it does.
    """
    returns: list[float] = []
    observations, total = task.reset(), 0.0
    policy.reset()
    while view.is_open():
        for asked in view.pressed():
            if asked == "pause":
                paused = not paused
                pacer.restart()
            elif asked == "push":
                push()
            elif asked == "reset":
                observations, total = task.reset(), 0.0
                policy.reset()
        if paused:
            view.show()
            sleep(PAUSED)
            continue
        pacer.wait()
        result = task.step(policy.act(observations))
        observations, total = result.observations, total + float(result.rewards[0])
        if bool(result.terminated[0] or result.truncated[0]):
            returns.append(total)
            print(f"episode {len(returns) - 1}: return {total:.1f}", flush=True)
            total = 0.0
            policy.reset()
        view.show()
    return returns
