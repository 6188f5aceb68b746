"""Test vectors of an exported file: observations and the commands that the training-side policy gives."""

from __future__ import annotations

import copy
import math

import numpy as np
import numpy.typing as npt
import torch

from acer_robot.policies.exported.module import RAW_LIMIT
from acer_robot.policies.policy import Policy
from acer_robot.rate_limit import CommandFilter
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.spec import ActionBounds

VECTORS = 256
"""Ordinary observations in test_vectors.npz."""

NUDGES = 16
"""Evaluations of the policy in the estimate of rounding errors."""

Floats = npt.NDArray[np.float32]


def vectors(
    run: TrainedRun, observations: Floats, sequence: Floats, fallback: npt.NDArray[np.float64]
) -> dict[str, Floats]:
    """Return test vectors: observations of three kinds with the commands of the training-side policy.

    Each ordinary and each extreme observation is the first one of an episode. The observations of the sequence [T, n]
    follow one another in one episode. A non-finite observation gets the fallback command.
    """
    extreme = extreme_observations(run.spec.observation_size)
    one = CommandFilter(run.spec, 1)
    in_a_row = [_limited_commands(run, row[None], one, fallback) for row in sequence]
    ordinary, ends = (CommandFilter(run.spec, len(rows)) for rows in (observations, extreme))
    return {
        "observations": observations,
        "commands": _limited_commands(run, observations, ordinary, fallback),
        "extreme_observations": extreme,
        "extreme_commands": _limited_commands(run, extreme, ends, fallback),
        "extreme_rounding": float32_rounding(run, extreme),
        "sequence_observations": sequence,
        "sequence_commands": np.concatenate(in_a_row),
    }


def _limited_commands(
    run: TrainedRun, rows: Floats, limited: CommandFilter, fallback: npt.NDArray[np.float64]
) -> Floats:
    """Return the training side's commands [N, d] for raw observations [N, n], after the filter `limited`."""
    usable = np.isfinite(rows).all(axis=1, keepdims=True)
    commands = np.where(usable, reference_commands(run, with_last(run, rows, limited)), fallback)
    return limited(commands).astype(np.float32)


def with_last(run: TrainedRun, rows: Floats, limited: CommandFilter) -> Floats:
    """Append the last commands [N, d] of `limited` to observations [N, n], if the policy observes them."""
    if not run.spec.observes_last_command:
        return rows
    return np.concatenate([rows, limited.last.astype(np.float32)], axis=1)


def reference_commands(run: TrainedRun, rows: Floats) -> npt.NDArray[np.float64]:
    """Return the training-side policy's commands [N, d] before any filter.

    Args:
        run: the trained run.
        rows: [N, run.spec.input_size] what the policy observes.

    We compute in float64, where no finite float32 observation overflows. Without a normaliser we limit observations
    to +-`RAW_LIMIT`, as the exported module does.
    """
    policy = copy.deepcopy(run.policy).double()
    return _commands(policy, run.spec.bounds, torch.from_numpy(rows).double())


def float32_rounding(run: TrainedRun, rows: Floats) -> Floats:
    """Return the permitted float32 rounding error of the first commands [N, d], for raw observations [N, n].

    Without a normaliser an observation of 1e6 loses digits in float32, and the loss can show in a command. We change
    the observations by at most one rounding error and run the training-side policy in float32. The result is four
    times the largest deviation from the command in float64.
    """
    usable = np.isfinite(rows).all(axis=1, keepdims=True)
    rows = with_last(run, rows, CommandFilter(run.spec, len(rows)))
    exact, rng = reference_commands(run, rows), np.random.default_rng(0)
    deviation = np.zeros_like(exact)
    for _ in range(NUDGES):
        nudge = 1.0 + np.finfo(np.float32).eps * rng.uniform(-1.0, 1.0, rows.shape)
        with np.errstate(over="ignore"):
            nudged = torch.from_numpy((rows * nudge).astype(np.float32))
        deviation = np.fmax(deviation, np.abs(_commands(run.policy, run.spec.bounds, nudged) - exact))
    return np.where(usable, 4.0 * deviation, 0.0).astype(np.float32)


def _commands(policy: Policy, bounds: ActionBounds, observations: torch.Tensor) -> npt.NDArray[np.float64]:
    limit = math.inf if policy.normalizer.enabled else RAW_LIMIT
    with torch.no_grad():
        canonical = policy.act(observations.clamp(-limit, limit)).double().numpy()
    return bounds.to_command(canonical).astype(np.float64)


def extreme_observations(size: int) -> Floats:
    """Return extreme float32 observations [N, n]: rows of one value, and rows of zeros with one such value."""
    largest, tiny = float(np.finfo(np.float32).max), 1e-45
    ends = [tiny, 1.0, 1e6, 1e38, largest, np.inf]
    values = [0.0, -0.0, np.nan, *ends, *(-value for value in ends)]
    constant = np.repeat(np.asarray(values, dtype=np.float32)[:, None], size, axis=1)
    single = np.zeros((len(values), size), dtype=np.float32)
    single[np.arange(len(values)), np.arange(len(values)) % size] = values
    return np.concatenate([constant, single])


def plausible_observations(run: TrainedRun) -> Floats:
    """Draw observations from the normaliser's statistics, for an export that does not simulate the task."""
    normalizer = run.policy.normalizer
    size = run.spec.observation_size
    draws = np.random.default_rng(0).standard_normal((VECTORS, size))
    mean = normalizer.mean.double().numpy()[:size]
    std = normalizer.variance.double().sqrt().numpy()[:size]
    observations: Floats = (mean + 2.0 * std * draws).astype(np.float32)
    return observations
