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
"""Evaluations from which the effect of rounding is judged."""

Floats = npt.NDArray[np.float32]


def vectors(
    run: TrainedRun, observations: Floats, sequence: Floats, fallback: npt.NDArray[np.float64]
) -> dict[str, Floats]:
    """Return test vectors: observations of three kinds with the commands of the training-side policy.

    Ordinary and extreme ones are each the first of an episode; those of the sequence [T, n] follow another.
    A non-finite observation is given the fallback command.
    """
    arrays: dict[str, Floats] = {}
    extreme = extreme_observations(run.spec.observation_size)
    for kind, rows in (("", observations), ("extreme_", extreme), ("sequence_", sequence)):
        usable = np.isfinite(rows).all(axis=1, keepdims=True)
        commands = np.where(usable, reference_commands(run, rows), fallback)
        in_a_row = kind == "sequence_"
        command_filter = CommandFilter(run.spec, 1 if in_a_row else len(rows))
        filtered = [command_filter(c[None])[0] for c in commands] if in_a_row else command_filter(commands)
        arrays[f"{kind}observations"] = rows
        arrays[f"{kind}commands"] = np.asarray(filtered, dtype=np.float32)
    arrays["extreme_rounding"] = float32_rounding(run, extreme)
    return arrays


def reference_commands(run: TrainedRun, rows: Floats) -> npt.NDArray[np.float64]:
    """Return the training-side policy's commands [N, d] before any filter, for observations [N, n].

    They are computed in float64, in which no finite float32 observation overflows. What is not normalised is
    limited as in the exported module.
    """
    policy = copy.deepcopy(run.policy).double()
    return _commands(policy, run.spec.bounds, torch.from_numpy(rows).double())


def float32_rounding(run: TrainedRun, rows: Floats) -> Floats:
    """Return how far float32 may move the commands [N, d] for observations [N, n].

    Without a normaliser an observation of 1e6 loses digits that a command between its bounds shows: four times
    the largest deviation of the training-side policy in float32, over observations off by a rounding or less.
    """
    exact, rng = reference_commands(run, rows), np.random.default_rng(0)
    deviation = np.zeros_like(exact)
    for _ in range(NUDGES):
        nudge = 1.0 + np.finfo(np.float32).eps * rng.uniform(-1.0, 1.0, rows.shape)
        with np.errstate(over="ignore"):
            nudged = torch.from_numpy((rows * nudge).astype(np.float32))
        deviation = np.fmax(deviation, np.abs(_commands(run.policy, run.spec.bounds, nudged) - exact))
    usable = np.isfinite(rows).all(axis=1, keepdims=True)
    return np.where(usable, 4.0 * deviation, 0.0).astype(np.float32)


def _commands(policy: Policy, bounds: ActionBounds, observations: torch.Tensor) -> npt.NDArray[np.float64]:
    limit = math.inf if policy.normalizer.enabled else RAW_LIMIT
    with torch.no_grad():
        canonical = policy.act(observations.clamp(-limit, limit)).double().numpy()
    return bounds.to_command(canonical).astype(np.float64)


def extreme_observations(size: int) -> Floats:
    """Return observations [N, n] at the ends of float32: constant ones, and one extreme entry among zeros."""
    largest, tiny = float(np.finfo(np.float32).max), 1e-45
    ends = [tiny, 1.0, 1e6, 1e38, largest, np.inf]
    values = [0.0, -0.0, np.nan, *ends, *(-value for value in ends)]
    constant = np.repeat(np.asarray(values, dtype=np.float32)[:, None], size, axis=1)
    single = np.zeros((len(values), size), dtype=np.float32)
    single[np.arange(len(values)), np.arange(len(values)) % size] = values
    return np.concatenate([constant, single])


def plausible_observations(run: TrainedRun) -> Floats:
    """Draw observations around the recorded statistics, for a run whose task is not to be simulated."""
    normalizer = run.policy.normalizer
    draws = np.random.default_rng(0).standard_normal((VECTORS, run.spec.observation_size))
    mean, std = normalizer.mean.double().numpy(), normalizer.variance.double().sqrt().numpy()
    observations: Floats = (mean + 2.0 * std * draws).astype(np.float32)
    return observations
