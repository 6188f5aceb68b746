"""The closed-loop check: in its task an exported file must give the commands of the training-side policy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.deployment.recorder import Recorder
from acer_robot.deployment.vectors import reference_commands
from acer_robot.deployment.verify_policy import TOLERANCE
from acer_robot.errors import InputError
from acer_robot.experience.episodes import MAX_ENVIRONMENTS, deterministic, run_rounds
from acer_robot.policies.exported.file import LoadedPolicy, load_exported
from acer_robot.rate_limit import CommandFilter
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.run_folder.recording import Recording
from acer_robot.tasks import make_task

SEQUENCE = 100
"""Largest number of control steps in `ClosedLoop.sequence`."""


@dataclass(frozen=True)
class ClosedLoop:
    """Results of whole episodes with the training-side policy and with the exported file."""

    observations: npt.NDArray[np.float32]
    """[N, n] observations of the training-side policy."""
    sequence: npt.NDArray[np.float32]
    """[T, n] the first observations of one environment, in order."""
    evaluation: dict[str, Any]
    """The score, as policy.json and evaluation.json record it."""
    recording: Recording
    """The file's first episodes."""


def compare(run: TrainedRun, file: Path, episodes: int, seed: int) -> ClosedLoop:
    """Run the training-side policy and the exported file through the same episodes and compare their commands.

    We compare commands on the observations of the training-side policy, in order. We record the returns and do not
    compare them: contacts amplify rounding errors, so two correct runs may differ.

    Raises:
        InputError: if a command differs by more than `TOLERANCE` times max(1, half the joint's range).
    """
    observations: list[Tensor] = []
    policy = load_exported(file)
    at_once = min(episodes, MAX_ENVIRONMENTS)
    starts: list[int] = []
    task = make_task(run.config.task, at_once, seed)
    act = deterministic(run.policy, task)

    def recorded(batch: Tensor) -> Tensor:
        observations.append(batch[:, : run.spec.input_size].clone())
        return act(batch)

    try:
        expected = run_rounds(recorded, task, episodes, lambda: starts.append(len(observations)))
    finally:
        task.close()
    commands = -(-expected.lengths // run.spec.action_repeat)
    for number, (first, end) in enumerate(itertools.pairwise([*starts, len(observations)])):
        episode = number * at_once
        _check_commands(run, policy, observations[first:end], episode, commands[episode : episode + at_once])
    task = make_task(policy.task_config, at_once, seed)
    recorder = Recorder(run.spec, episodes, task)
    try:
        got = run_rounds(policy.act, task, episodes, policy.reset, recorder.watch)
    finally:
        task.close()
    evaluation = {
        **got.summary(),
        "episodes": episodes,
        "seed": seed,
        "policy_return_mean": float(expected.returns.mean()),
    }
    raw = [batch[:, : run.spec.observation_size] for batch in observations]
    sequence = torch.stack([batch[0] for batch in raw[:SEQUENCE]])
    return ClosedLoop(torch.cat(raw).numpy(), sequence.numpy(), evaluation, recorder.recording())


def _check_commands(
    run: TrainedRun,
    policy: LoadedPolicy,
    observations: Sequence[Tensor],
    episode: int,
    counts: npt.NDArray[np.int64],
) -> None:
    """Raise InputError unless the file gives the training-side policy's commands, in order.

    An environment whose episode has ended starts anew, and its limit of the rate with it, while the file goes on: what
    follows is not compared.

    Args:
        run: the trained run.
        policy: the file.
        observations: batches [B, n]. They include the last commands if the policy observes them.
        episode: number of the episode in row 0 of the batches.
        counts: commands of the episode in each of the first rows.
    """
    bounds = run.spec.bounds
    half_range = 0.5 * np.asarray(bounds.high) - 0.5 * np.asarray(bounds.low)
    allowed = TOLERANCE * np.maximum(1.0, half_range)
    reference = reference_commands(run, torch.cat(list(observations)).numpy())
    limited = CommandFilter(run.spec, len(observations[0]))
    policy.reset()
    for step, (batch, wanted) in enumerate(
        zip(observations, np.split(reference, len(observations)), strict=True)
    ):
        wanted = limited(wanted)
        commands = policy.act(batch[:, : run.spec.observation_size]).numpy()
        rows = np.flatnonzero(step < counts)
        excess = (np.abs(commands - wanted) - allowed)[rows]
        if not (excess <= 0.0).all():
            worst, joint = np.unravel_index(int(excess.argmax()), excess.shape)
            row = rows[worst]
            raise InputError(
                f"export refused: check 'closed loop' failed: at command {step} of episode {episode + row} "
                f"the file gives {commands[row, joint]:.6g} for joint {bounds.names[joint]!r}, the "
                f"training-side policy {wanted[row, joint]:.6g}"
            )
