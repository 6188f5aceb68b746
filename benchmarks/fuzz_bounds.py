"""Commands of an exported file for millions of random observations: NaN and those outside the bounds counted.

    python benchmarks/fuzz_bounds.py [policy.pt ...] [--observations 10000000] [--seed 0]

Without a file it exports three with random weights and asymmetric, one-sided, tiny and equal bounds: the default
policy, the paper's (neither normaliser nor layer normalisation, clipped: it reaches its limits), and one with
slew-rate limits and low-pass. The exit status is 1 if any command is NaN or outside the bounds of the metadata.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from fresh_policy import export, fresh_run, machine

from acer_robot.policies.exported.file import LoadedPolicy, load_exported
from acer_robot.schema import LearnerConfig
from acer_robot.spec import representable_limits

BATCH = 10_000
LOW = (-1.0, -0.3, 0.0, -2.5, -1e-7, 0.1)
HIGH = (1.0, 0.1, 0.7, -0.4, 1e-7, 0.1)
"""The last joint's range, [0.1, 0.1], holds no float32 number: the nearest one is right there."""

Floats = npt.NDArray[np.float32]


def random_bits(random: np.random.Generator, width: int) -> Floats:
    """Every bit pattern alike: denormal numbers, infinities and NaN among them."""
    return random.integers(0, 2**32, (BATCH, width), dtype=np.uint32).view(np.float32)


def magnitudes(random: np.random.Generator, width: int) -> Floats:
    """Finite numbers of every magnitude, whole rows of one magnitude, so that no entry drowns the others."""
    powers = 10.0 ** random.uniform(-46.0, 38.5, (BATCH, 1))
    scaled: Floats = np.clip(random.standard_normal((BATCH, width)) * powers, -3.4e38, 3.4e38).astype(
        np.float32
    )
    return scaled


def spiked(random: np.random.Generator, width: int) -> Floats:
    """Ordinary observations of which some entries are an extreme number: what a broken sensor sends."""
    extremes = np.array([np.nan, np.inf, -np.inf, 1e-45, -1e-40, 1e38, -1e38, 3.4028235e38, -0.0])
    observations = random.standard_normal((BATCH, width)).astype(np.float32)
    places = random.random((BATCH, width)) < 1.0 / width
    observations[places] = random.choice(extremes, int(places.sum())).astype(np.float32)
    return observations


def batches(random: np.random.Generator, width: int, count: int) -> Iterator[Floats]:
    """Yield at least `count` observations, the three kinds in turn, in whole batches."""
    kinds = (random_bits, magnitudes, spiked)
    for i in range(-(-count // BATCH)):
        yield kinds[i % len(kinds)](random, width)


def outside(commands: Floats, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> int:
    """Count commands beyond the exact limits; where no float32 number lies between them, the nearest is within."""
    exact, nearest = commands.astype(np.float64), (0.5 * low + 0.5 * high).astype(np.float32)
    with np.errstate(invalid="ignore"):
        beyond = (exact < low) | (exact > high)
    return int((beyond & (commands != nearest)).sum())


def fuzz(policy: LoadedPolicy, count: int, seed: int) -> int:
    """Print what was found and return the number of commands that break the promise."""
    bounds = policy.spec.bounds
    low, high = np.asarray(bounds.low), np.asarray(bounds.high)
    lowest, highest = representable_limits(low, high, np.float32)
    random, begin = np.random.default_rng(seed), time.perf_counter()
    rows = unusable = nans = beyond = 0
    at_limits = np.zeros(bounds.size, dtype=np.int64)
    policy.reset()
    for observations in batches(random, policy.spec.observation_size, count):
        commands = policy.act(torch.from_numpy(observations)).numpy()
        rows += len(commands)
        unusable += int((~np.isfinite(observations).all(axis=1)).sum())
        nans += int(np.isnan(commands).sum())
        beyond += outside(commands, low, high)
        at_limits += ((commands == lowest) | (commands == highest)).sum(axis=0)
    print(f"{rows:,} observations ({unusable:,} not finite), {time.perf_counter() - begin:.0f} s")
    print(f"commands at a limit, per joint: {', '.join(f'{n / rows:.0%}' for n in at_limits)}")
    print(f"commands outside the bounds: {beyond}; NaN: {nans}")
    return beyond + nans


def own_policies(folder: Path) -> list[Path]:
    """Export three policies."""
    paper = LearnerConfig(squash="clip", mean_bound=None, layer_norm=False, normalize_observations=False)
    runs = {
        "default": fresh_run(LOW, HIGH),
        "paper": fresh_run(LOW, HIGH, paper),
        "limited": fresh_run(LOW, HIGH, slew_rate=(5.0, None, 3.0, 10.0, None, None), low_pass_hz=4.0),
    }
    for name in runs:
        (folder / name).mkdir()
    return [export(run, folder / name) for name, run in runs.items()]


def main() -> None:
    """Fuzz every file."""
    parser = argparse.ArgumentParser(description="Count commands outside the bounds.")
    parser.add_argument("policies", type=Path, nargs="*")
    parser.add_argument("--observations", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in options.policies or own_policies(Path(folder)):
            policy = load_exported(path)
            bounds = policy.spec.bounds
            print(
                f"\n{path.parent.name}: low {list(bounds.low)}, high {list(bounds.high)}, seed {options.seed}"
            )
            broken += fuzz(policy, options.observations, options.seed)
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
