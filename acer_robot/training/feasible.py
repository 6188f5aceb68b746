"""Whether options that are fine one by one can be had together: a run that learns, and sizes that fit the memory."""

from __future__ import annotations

import itertools
import math

import torch

from acer_robot.errors import InputError
from acer_robot.experience.replay import free_memory
from acer_robot.experience.update_counter import updates_per_transition
from acer_robot.memory import check_memory
from acer_robot.schema import LearnerConfig, TrainConfig
from acer_robot.spec import TaskSpec

FLOAT_BYTES = 4
COPIES = 5
"""Tensors of each network's size: the weights, their gradients, two moments of Adam, an average."""


def check_learns(config: TrainConfig) -> None:
    """Raise InputError for a run that would end before its first update."""
    options, envs = config.learner, config.num_envs
    # Workers deliver whole blocks, which `check_collector` has compared with the replay.
    in_rows = config.collector.kind == "local" or config.collector.synchronous
    if in_rows and options.segment_length > options.replay_size // envs:
        raise InputError(
            f"learner.segment_length={options.segment_length} does not fit into the replay: learner.replay_size="
            f"{options.replay_size} over num_envs={envs} holds {options.replay_size // envs} steps of each; set "
            f"learner.replay_size={options.segment_length * envs} or more"
        )
    per_command = envs * config.task.action_repeat
    commands, needed = math.ceil(config.steps / per_command), first_update(options, envs)
    if commands >= needed:
        return
    if not options.on_policy and commands * envs < options.learning_starts:
        reason = f"learner.learning_starts={options.learning_starts} transitions are collected before the first one"
        remedy = "lower learner.learning_starts"
    elif commands < options.segment_length:
        reason = f"each of num_envs={envs} environments gets {commands} commands, fewer than learner.segment_length="
        reason, remedy = f"{reason}{options.segment_length}", "lower num_envs or learner.segment_length"
    else:
        reason = f"learner.replay_ratio={options.replay_ratio!r} asks for less than one update of learner.segments="
        reason, remedy = f"{reason}{options.segments} segments", "raise learner.replay_ratio"
    raise InputError(
        f"steps={config.steps} would end without an update: {reason}; set steps={needed * per_command} or more, or "
        f"{remedy}"
    )


def check_on_policy(options: LearnerConfig, num_envs: int) -> None:
    """Raise InputError if the segments of all environments do not make whole batches, each learnt from once."""
    if options.on_policy and num_envs % options.segments:
        raise InputError(
            f"learner.segments={options.segments} does not divide num_envs={num_envs}: with learner.on_policy=true the "
            f"num_envs new segments are learnt from once, learner.segments at a time; set num_envs to a multiple of it"
        )


def first_update(options: LearnerConfig, num_envs: int) -> int:
    """Return how many commands each environment gets until the first update is due (on average, if Poisson)."""
    if options.on_policy:
        return options.segment_length
    start = max(1, math.ceil(options.learning_starts / num_envs))
    updates = num_envs * updates_per_transition(options)  # of one command in every environment
    # Updates that are due before the replay holds a segment are dropped.
    dropped = math.floor(max(0, options.segment_length - start) * updates)
    # The schedule adds these numbers up: only multiples of 1/1024 add up to a whole update without rounding.
    rounding = 1.0 if (updates * 1024).is_integer() else 1.0 + 1e-9
    return max(options.segment_length, start - 1 + math.ceil((dropped + 1) / updates * rounding))


def check_sizes(options: LearnerConfig, device: torch.device) -> None:
    """Raise InputError for networks, or activations of one update, that cannot fit into the device's free memory.

    Both figures are lower bounds: observations and actions are left out.
    """
    free, widths = free_memory(device), [1, *options.hidden]
    trunk = sum(a * b for a, b in itertools.pairwise(widths))
    weights = trunk + options.critics * (trunk + options.hidden[-1] * options.advantage_hidden)
    read = options.hidden[0] + options.advantage_hidden  # by each critic, of z and of e
    weights += options.embedding * (3 * options.embedding_hidden + options.critics * read)
    embedding = (
        f", learner.embedding={options.embedding}, learner.embedding_hidden={options.embedding_hidden}"
        if options.embedding
        else ""
    )
    check_memory(
        f"networks of learner.hidden={options.hidden}, learner.advantage_hidden={options.advantage_hidden}{embedding} "
        f"and learner.critics={options.critics}",
        COPIES * FLOAT_BYTES * weights,
        free,
        "lower them",
    )
    heads = (1 + options.sdn_samples) * options.advantage_hidden
    states = options.segments * options.segment_length
    of_actions = (
        (1 + options.sdn_samples) * (options.embedding + options.embedding_hidden) if embedding else 0
    )
    check_memory(
        f"one update of learner.segments={options.segments}, learner.segment_length={options.segment_length}, "
        f"learner.sdn_samples={options.sdn_samples}, learner.hidden={options.hidden}, learner.advantage_hidden="
        f"{options.advantage_hidden}{embedding} and learner.critics={options.critics}",
        FLOAT_BYTES * states * (options.critics * (sum(options.hidden) + heads) + of_actions),
        free,
        "lower them",
    )


def check_joints(spec: TaskSpec) -> None:
    """Raise InputError for a task whose joints can all take one value alone, so that there is nothing to learn."""
    if all(low == high for low, high in zip(spec.bounds.low, spec.bounds.high, strict=True)):
        raise InputError(
            f"every joint of {spec.id} has low = high, so there is nothing to learn; widen task.bounds of one"
        )
