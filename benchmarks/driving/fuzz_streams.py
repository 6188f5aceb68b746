"""Streams of observations that no robot sends: what a broken sensor, bus or driver may give a policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Random = np.random.Generator

EXTREMES = np.array(
    [np.nan, np.inf, -np.inf, 1e-45, -1e-40, 1e38, -1e38, 3.4028235e38, -3.4028235e38, -0.0], np.float32
)


def ordinary(random: Random, before: Floats) -> Floats:
    """Numbers like those of training."""
    return random.standard_normal(before.shape, np.float32)


def frozen(random: Random, before: Floats) -> Floats:
    """The row before once more, whatever it was."""
    del random
    return before


def jumped(random: Random, before: Floats) -> Floats:
    """The row before plus a step of any size, in every entry."""
    size = np.float32(10.0) ** random.uniform(-3.0, 9.0, (len(before), 1)).astype(np.float32)
    return before + size * random.standard_normal(before.shape, np.float32)


def spiked(random: Random, before: Floats) -> Floats:
    """Ordinary numbers of which some are NaN, infinite, huge, denormal or a negative zero."""
    rows = random.standard_normal(before.shape, np.float32)
    places = random.random(before.shape, np.float32) < 1.0 / before.shape[1]
    rows[places] = random.choice(EXTREMES, int(places.sum()))
    return rows


def magnitudes(random: Random, before: Floats) -> Floats:
    """Finite numbers of every magnitude, whole rows of one magnitude, so that no entry drowns the others."""
    powers = 10.0 ** random.uniform(-46.0, 38.5, (len(before), 1))
    scaled = np.clip(random.standard_normal(before.shape, np.float32) * powers, -3.4e38, 3.4e38)
    return scaled.astype(np.float32)


def random_bits(random: Random, before: Floats) -> Floats:
    """Every bit pattern alike: infinities and NaN among them."""
    return random.integers(0, 2**32, before.shape, np.uint32).view(np.float32)


def denormal(random: Random, before: Floats) -> Floats:
    """Numbers between zero and the smallest normal one, of both signs."""
    bits = random.integers(0, 2**32, before.shape, np.uint32) & np.uint32(0x807FFFFF)
    return bits.view(np.float32)


KINDS: tuple[Callable[[Random, Floats], Floats], ...] = (
    ordinary,
    frozen,
    jumped,
    spiked,
    magnitudes,
    random_bits,
    denormal,
)


def next_rows(random: Random, before: Floats) -> Floats:
    """Return the next observation [B, n] of each of B streams. Each stream draws a kind of its own."""
    rows = np.empty_like(before)
    chosen = random.integers(0, len(KINDS), len(before))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for index, kind in enumerate(KINDS):
            places = np.flatnonzero(chosen == index)
            rows[places] = kind(random, before[places])
    return rows
