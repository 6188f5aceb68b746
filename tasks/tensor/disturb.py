"""What disturbs a robot: noise of its sensors, a delay of its commands, pushes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.spec import fallback_command
from acer_robot.tasks.model.moving_body import free_joint
from acer_robot.tasks.model.numbers import full_matches, number
from acer_robot.tasks.tensor.task import Memory, State, TensorTask

LONGEST_DELAY = 100
"""Control steps by which a command may be delayed."""
QUEUE, DELAY, NOISE, PUSH = "delay.queue", "delay.steps", "noise", "push"
"""Names in the task's memory."""


def with_command_delay(task: TensorTask, delay: Any) -> TensorTask:  # noqa: ANN401 - whatever a user wrote
    """Return the task with commands that arrive later, as `task.command_delay` says: 2, or [0, 2] drawn by episode.

    Until the first one arrives, the actuators get the command at rest. The reward sees the policy's own command.

    Raises:
        InputError: if it is no whole number of control steps, or no pair of them.
    """
    low, high = _delays(delay)
    if high == 0:
        return task
    rest = torch.from_numpy(fallback_command(task.bounds))

    def begin(count: int, generator: torch.Generator) -> Memory:
        steps = torch.full((count,), low, device=generator.device)
        if low < high:
            steps = torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)
        queue = rest.to(generator.device).repeat(count, high, 1)
        return {**task.begin(count, generator), QUEUE: queue, DELAY: steps}

    def remember(after: State, command: Tensor, generator: torch.Generator) -> Memory:
        queue = after.memory[QUEUE]
        later = torch.cat([command.to(queue.dtype).unsqueeze(1), queue[:, :-1]], dim=1)
        own = {QUEUE: later, DELAY: after.memory[DELAY]}
        return task.remember(after, command, generator) | own

    def apply(before: State, command: Tensor) -> dict[str, Tensor]:
        queue, steps = before.memory[QUEUE], before.memory[DELAY]
        known = torch.cat([command.to(queue.dtype).unsqueeze(1), queue], dim=1)
        index = steps.view(-1, 1, 1).expand(-1, 1, known.shape[2])
        return task.apply(before, known.gather(1, index).squeeze(1))

    return dataclasses.replace(task, begin=begin, remember=remember, apply=apply)


def _delays(delay: Any) -> tuple[int, int]:  # noqa: ANN401 - whatever a user wrote
    """Return the shortest and the longest delay in control steps."""
    values = delay if isinstance(delay, list | tuple) and len(delay) == 2 else [delay, delay]
    for value in values:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 0 <= value <= LONGEST_DELAY:
            raise InputError(
                f"task.command_delay={delay!r}; expected a whole number of control steps from 0 to {LONGEST_DELAY}, or "
                f"a pair of them: [0, 2]"
            )
    if values[0] > values[1]:
        raise InputError(f"task.command_delay={delay!r} is an empty range; expected [low, high], low first")
    return values[0], values[1]


def with_noise(task: TensorTask, options: Mapping[str, Any]) -> TensorTask:
    """Return the task with Gaussian noise on its observations, as `task.noise` says.

    A key is the kind of an entry (the part of its name before the colon) or a regular expression over whole names. A
    value is a standard deviation in the unit of the entry. The noise is drawn anew in each step.

    Raises:
        InputError: if a key matches no entry, or a value is no number from 0.
    """
    if not options:
        return task
    scales = torch.from_numpy(_deviations(task, options))

    def draw(count: int, generator: torch.Generator) -> Tensor:
        shape = (count, len(scales))
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64)
        return noise * scales.to(generator.device)

    def begin(count: int, generator: torch.Generator) -> Memory:
        return {**task.begin(count, generator), NOISE: draw(count, generator)}

    def remember(after: State, command: Tensor, generator: torch.Generator) -> Memory:
        noise = draw(len(command), generator).to(after.memory[NOISE].dtype)
        return task.remember(after, command, generator) | {NOISE: noise}

    def observe(state: State) -> Tensor:
        seen = task.observe(state)
        return seen + state.memory[NOISE].to(seen.dtype)

    return dataclasses.replace(task, begin=begin, remember=remember, observe=observe)


def _deviations(task: TensorTask, options: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the standard deviation of each entry of the observation."""
    scales = np.zeros(task.layout[-1].stop)
    kinds = sorted({field.name.partition(":")[0] for field in task.layout})
    for key, value in options.items():
        scale = number(f"task.noise of {key}", value, 0.0)
        named = full_matches("task.noise", key, [field.name for field in task.layout])
        fields = [f for f in task.layout if f.name.partition(":")[0] == key or f.name in named]
        if not fields:
            raise InputError(
                f"task.noise has the key {key!r}, which matches no observation; there are {', '.join(kinds)}"
            )
        for field in fields:
            scales[field.start : field.stop] = scale
    return scales


def with_pushes(task: TensorTask, options: Mapping[str, Any]) -> TensorTask:
    """Return the task with pushes, as `task.push` says: {seconds: 5, speed: 0.5}.

    A push changes the horizontal velocity of the robot's base at once, by up to `speed` m/s in a random direction. It
    comes after `seconds` on average.

    Raises:
        InputError: if a number cannot be used, or the robot has no free base.
    """
    if not options:
        return task
    for name in options:
        if name not in ("seconds", "speed"):
            raise InputError(f"task.push names {name!r}, which is not known; it takes seconds, speed")
    seconds = number("task.push of seconds", options.get("seconds", 5.0), 1e-3)
    speed = number("task.push of speed", options.get("speed", 0.5), 0.0, 100.0)
    dof = _free_dof(task)
    chance = task.model.opt.timestep * task.frame_skip / seconds

    def none(count: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(count, 2, dtype=torch.float64, device=generator.device)

    def begin(count: int, generator: torch.Generator) -> Memory:
        return {**task.begin(count, generator), PUSH: none(count, generator)}

    def remember(after: State, command: Tensor, generator: torch.Generator) -> Memory:
        shape = (len(command), 3)
        drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
        angle = 2.0 * math.pi * drawn[:, 0]
        push = (speed * drawn[:, 1]).unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)
        push = push * (drawn[:, 2:] < chance)
        return task.remember(after, command, generator) | {PUSH: push.to(after.memory[PUSH].dtype)}

    def apply(before: State, command: Tensor) -> dict[str, Tensor]:
        written = task.apply(before, command)
        qvel = written.get("qvel", before.qvel).clone()
        qvel[:, dof : dof + 2] += before.memory[PUSH].to(qvel.dtype)
        return {**written, "qvel": qvel}

    fields = task.fields if "qvel" in task.fields else (*task.fields, "qvel")
    return dataclasses.replace(task, begin=begin, remember=remember, apply=apply, fields=fields)


def _free_dof(task: TensorTask) -> int:
    """Return the number of the first degree of freedom of the free base."""
    base = free_joint(task.model)
    if base is None:
        raise InputError(
            f"task.push needs a robot with a free base, which {task.id} does not have; leave it out"
        )
    return int(task.model.jnt_dofadr[base])
