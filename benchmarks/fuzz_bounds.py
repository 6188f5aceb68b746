"""Commands of an exported file for millions of random observations: what is NaN, out of bounds or too fast is counted.

    make controller
    python benchmarks/fuzz_bounds.py [policy.pt ...] [--observations 10000000] [--pieces 10] [--from 1] [--to 10]

Observations come as streams, so that the file's memory of its last commands is fuzzed as well. Each piece has random
numbers of its own and starts anew. A line follows each piece, and `--from 4` goes on where an earlier call was ended.
Where the C++ controller is built, each piece also goes through it and its safety layer.

Without a file it exports three with random weights and asymmetric, one-sided, tiny and equal bounds: the default
policy, the paper's (neither normaliser nor layer normalisation, clipped: it reaches its limits), and one with
slew-rate limits and low-pass. The exit status is 1 if any command is NaN, outside the
bounds of the metadata, or beyond a slew rate.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from fresh_policy import export, fresh_run

from acer_robot.policies.exported.file import LoadedPolicy, load_exported
from acer_robot.rate_limit import largest_steps
from acer_robot.schema import LearnerConfig
from acer_robot.spec import fallback_command

CHECKS = Path(__file__).parents[1] / "build" / "controller" / "controller_test"
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


class Found:
    """What the commands of a file did."""

    def __init__(self, policy: LoadedPolicy) -> None:
        self._policy, spec = policy, policy.spec
        self._low, self._high = np.asarray(spec.bounds.low), np.asarray(spec.bounds.high)
        self._steps = largest_steps(spec)
        largest = np.maximum(np.abs(self._low), np.abs(self._high)).astype(np.float32)
        self._rounding = np.spacing(largest).astype(np.float64)
        self.rows = self.unusable = self.nans = self.outside = self.jumps = 0

    def stream(self, random: np.random.Generator, count: int) -> None:
        """Feed at least `count` observations as `BATCH` streams in parallel, each with the memory of its own."""
        self._policy.reset()
        last = np.tile(fallback_command(self._policy.spec.bounds), (BATCH, 1))
        for observations in batches(random, self._policy.spec.observation_size, count):
            commands = self._policy.act(torch.from_numpy(observations)).numpy()
            self.rows += len(commands)
            self.unusable += int((~np.isfinite(observations).all(axis=1)).sum())
            self.nans += int(np.isnan(commands).sum())
            self.outside += outside(commands, self._low, self._high)
            exact = commands.astype(np.float64)
            self.jumps += int((np.abs(exact - last) > self._steps + self._rounding).sum())
            last = exact

    @property
    def broken(self) -> int:
        """Commands that break the promise."""
        return self.nans + self.outside + self.jumps

    def __str__(self) -> str:
        return (
            f"{self.rows:,} observations ({self.unusable:,} not finite); commands outside the bounds: "
            f"{self.outside}; NaN: {self.nans}; beyond the slew rate: {self.jumps}"
        )


def in_cpp(path: Path, count: int, seed: int) -> bool:
    """Fuzz the C++ controller with its safety layer, print what it found, and return whether all was well."""
    done = subprocess.run(
        [CHECKS, "fuzz", path, str(count), str(seed)], capture_output=True, text=True, check=False
    )
    print(f"  C++, {count:,} observations: {(done.stdout or done.stderr).strip()}", flush=True)
    return done.returncode == 0


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
    """Fuzz every file, piece by piece."""
    parser = argparse.ArgumentParser(description="Count commands outside bounds and slew rates.")
    parser.add_argument("policies", type=Path, nargs="*")
    parser.add_argument("--observations", type=int, default=10_000_000, help="of all pieces together")
    parser.add_argument("--pieces", type=int, default=10)
    parser.add_argument("--from", type=int, default=1, dest="first", help="first piece to run")
    parser.add_argument("--to", type=int, default=None, dest="last", help="last piece to run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with_cpp = CHECKS.is_file()
    if not with_cpp:
        print("C++ is not run: `make controller` builds build/controller/controller_test")
    count, well = -(-options.observations // options.pieces), True
    with tempfile.TemporaryDirectory() as folder:
        for path in options.policies or own_policies(Path(folder)):
            policy = load_exported(path)
            bounds, found = policy.spec.bounds, Found(policy)
            print(
                f"{path.parent.name}: low {list(bounds.low)}, high {list(bounds.high)}, seed {options.seed}"
            )
            for piece in range(options.first, (options.last or options.pieces) + 1):
                found.stream(np.random.default_rng([options.seed, piece]), count)
                print(f"  after piece {piece} of {options.pieces}: {found}", flush=True)
                if with_cpp:
                    well &= in_cpp(path, count, options.seed + piece)
            well &= found.broken == 0
    raise SystemExit(0 if well else 1)


if __name__ == "__main__":
    main()
