"""Interquartile means over runs, with stratified bootstrap intervals (Agarwal et al. 2021)."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 2_000
CONFIDENCE = 0.95

FloatArray = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """An interquartile mean [T] and its 95 % interval, which is NaN where there is one run."""

    middle: FloatArray
    low: FloatArray
    high: FloatArray


def has_rliable() -> bool:
    """Whether rliable computes the intervals; else this file does."""
    return importlib.util.find_spec("rliable") is not None


def interquartile_mean(values: FloatArray) -> FloatArray:
    """Return the mean [.., T] of the middle half of runs and strata of [.., runs, strata, T].

    Of N values the lowest and the highest floor(N / 4) are left out, as in scipy.stats.trim_mean.
    """
    flat = np.sort(values.reshape(*values.shape[:-3], -1, values.shape[-1]), axis=-2)
    cut = flat.shape[-2] // 4
    middle: FloatArray = flat[..., cut : flat.shape[-2] - cut, :].mean(axis=-2)
    return middle


def estimate(values: FloatArray, with_rliable: bool = False) -> Estimate:
    """Return the interquartile mean of [runs, strata, T] and its percentile interval.

    Args:
        values: returns.
        with_rliable: whether rliable computes the interval, which takes longer.

    The bootstrap draws runs with replacement, in each stratum (task) on its own. A run keeps its T values together.
    """
    middle = interquartile_mean(values)
    if len(values) < 2:
        nothing = np.full_like(middle, np.nan)
        return Estimate(middle, nothing, nothing)
    low, high = _rliable(values) if with_rliable else _plain(values)
    return Estimate(middle, low, high)


def _plain(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    runs, strata, _ = values.shape
    chosen = np.random.default_rng(0).integers(0, runs, (RESAMPLES, runs, strata))
    samples = values[chosen, np.arange(strata)]
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(interquartile_mean(samples), [tail, 100.0 - tail], axis=0)
    return low, high


def _rliable(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    from rliable import library  # type: ignore  # an extra; untyped where it is there

    # rliable resamples with numpy's global generator, whatever random_state it is given.
    before = np.random.get_state()
    np.random.seed(0)
    try:
        _, intervals = library.get_interval_estimates(
            {"": values}, interquartile_mean, reps=RESAMPLES, confidence_interval_size=CONFIDENCE
        )
    finally:
        np.random.set_state(before)
    low, high = intervals[""]
    return low, high
