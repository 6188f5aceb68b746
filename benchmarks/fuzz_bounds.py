"""Commands of an exported file for millions of fuzzed streams: what is NaN, out of bounds or too fast is counted.

    make controller
    python benchmarks/fuzz_bounds.py [policy.pt ...] [--streams 10000000] [--length 5] [--report FILE.md]

A stream is `--length` observations in a row, from a new start of the file's memory of its last commands.
fuzz_streams.py has the kinds. Python runs 10,000 streams side by side. Where controller_test is built, as many streams
of its own go through the C++ policy and its safety layer, one after the other. Each file runs in `--pieces`: each
piece has random numbers of its own, and a line follows it.

Without a file it exports four with random weights and asymmetric, one-sided, tiny and equal bounds: the default
policy, the paper's (neither normaliser nor layer normalisation, clipped), the paper's with slew-rate limits and
low-pass, and the default one with both, which also observes its last command. Their networks have 2x32 units, and
large weights, so that they reach their limits. The exit status is 1 if any command is NaN, outside the bounds of the
metadata, or beyond a slew rate.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from driving.fresh_policy import export, fresh_run, machine
from driving.fuzz_streams import Floats, next_rows

from acer_robot.policies.exported.file import LoadedPolicy, load_exported
from acer_robot.provenance import git_revision
from acer_robot.rate_limit import largest_steps
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import LearnerConfig
from acer_robot.spec import fallback_command

CHECKS = Path(__file__).parents[1] / "build" / "controller" / "controller_test"
CPP_LINE = re.compile(r"(\d+) outside, (\d+) jumps, (\d+) commands, (\d+) not finite, (\d+) at a limit")
BATCH = 10_000
LOW = (-1.0, -0.3, 0.0, -2.5, -1e-7, 0.1)
HIGH = (1.0, 0.1, 0.7, -0.4, 1e-7, 0.1)
"""The last joint's range, [0.1, 0.1], holds no float32 number: the nearest one is right there."""
SLEW_RATE = (5.0, None, 3.0, 10.0, None, None)


@dataclass
class Counts:
    """What the commands of one file did in one implementation."""

    streams: int = 0
    rows: int = 0
    """Observations in Python. Commands in C++, where a safety layer that is idle gives none."""
    unusable: int = 0
    """Observations that are not finite."""
    at_limit: int = 0
    """Commands of a joint that lay at one of its limits. It shows that the limits were reached."""
    outside: int = 0
    """Commands of a joint that are NaN or outside its bounds."""
    jumps: int = 0
    """Commands of a joint that changed by more than its slew rate permits."""

    def __str__(self) -> str:
        return (
            f"{self.streams:,} streams, {self.rows:,} rows, {self.unusable:,} observations not finite, "
            f"{self.at_limit:,} commands at a limit; outside the bounds or NaN: {self.outside}; "
            f"beyond the slew rate: {self.jumps}"
        )


class Judge:
    """Counts what commands of a file do."""

    def __init__(self, policy: LoadedPolicy, counts: Counts) -> None:
        self._policy, self._counts, spec = policy, counts, policy.spec
        self._low, self._high = np.asarray(spec.bounds.low), np.asarray(spec.bounds.high)
        # Where no float32 number lies between the limits, the nearest one is within them.
        self._nearest = (0.5 * self._low + 0.5 * self._high).astype(np.float32)
        largest = np.maximum(np.abs(self._low), np.abs(self._high)).astype(np.float32)
        self._steps = largest_steps(spec) + np.spacing(largest).astype(np.float64)
        self._ends = [self._low.astype(np.float32), self._high.astype(np.float32)]

    def streams(self, random: np.random.Generator, count: int, length: int) -> None:
        """Feed at least `count` streams in whole batches, each with a memory of its own."""
        width = self._policy.spec.observation_size
        for _ in range(-(-count // BATCH)):
            self._policy.reset()
            rows = np.zeros((BATCH, width), np.float32)
            last = np.tile(fallback_command(self._policy.spec.bounds), (BATCH, 1)).astype(np.float64)
            self._counts.streams += BATCH
            for _ in range(length):
                rows = next_rows(random, rows)
                last = self._take(rows, last)

    def _take(self, observations: Floats, last: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        commands = self._policy.act(torch.from_numpy(observations)).numpy()
        exact, counts = commands.astype(np.float64), self._counts
        within = ((exact >= self._low) & (exact <= self._high)) | (commands == self._nearest)
        counts.rows += len(commands)
        counts.unusable += int((~np.isfinite(observations).all(axis=1)).sum())
        counts.outside += int((~within).sum())
        counts.at_limit += int(((commands == self._ends[0]) | (commands == self._ends[1])).sum())
        counts.jumps += int((~(np.abs(exact - last) <= self._steps)).sum())
        return exact


def in_cpp(path: Path, streams: int, length: int, seed: int, counts: Counts) -> None:
    """Fuzz the C++ policy and its safety layer."""
    command = [str(part) for part in (CHECKS, "fuzz", path, streams, length, seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = CPP_LINE.search(done.stdout)
    if found is None:
        sys.exit(f"{' '.join(command)}: {(done.stdout or done.stderr).strip()}")
    outside, jumps, commands, unusable, at_limit = map(int, found.groups())
    counts.streams += streams
    counts.rows += commands
    counts.outside += outside
    counts.jumps += jumps
    counts.unusable += unusable
    counts.at_limit += at_limit


def _strong(run: TrainedRun) -> TrainedRun:
    """Return the run with larger weights: its commands then reach their limits."""
    with torch.no_grad():
        for parameter in run.policy.actor.parameters():
            parameter.mul_(4.0)
    return run


def own_policies(folder: Path) -> list[Path]:
    """Export four policies."""
    small = LearnerConfig(hidden=[32, 32])
    paper = LearnerConfig(
        hidden=[32, 32], squash="clip", mean_bound=None, layer_norm=False, normalize_observations=False
    )
    runs = {
        "default": fresh_run(LOW, HIGH, small),
        "paper": fresh_run(LOW, HIGH, paper),
        "limited": fresh_run(LOW, HIGH, paper, SLEW_RATE, low_pass_hz=4.0),
        "remembering": fresh_run(LOW, HIGH, small, SLEW_RATE, low_pass_hz=4.0, observes_last_command=True),
    }
    for name in runs:
        (folder / name).mkdir()
    return [export(_strong(run), folder / name) for name, run in runs.items()]


def fuzz(path: Path, options: argparse.Namespace, with_cpp: bool) -> dict[str, Counts]:
    """Fuzz one file piece by piece; return what it did in each implementation."""
    policy, counts = load_exported(path), {"Python": Counts()}
    judge, each = Judge(policy, counts["Python"]), -(-options.streams // options.pieces)
    bounds = policy.spec.bounds
    print(f"{path.parent.name}: low {list(bounds.low)}, high {list(bounds.high)}, seed {options.seed}")
    if with_cpp:
        counts["C++"] = Counts()
    for piece in range(1, options.pieces + 1):
        judge.streams(np.random.default_rng([options.seed, piece]), each, options.length)
        if with_cpp:
            in_cpp(path, each, options.length, options.seed + piece, counts["C++"])
        for language, found in counts.items():
            print(f"  after piece {piece} of {options.pieces}, {language:6}: {found}", flush=True)
    return counts


def report(found: dict[str, dict[str, Counts]], options: argparse.Namespace, seconds: float) -> str:
    """Return the results as a Markdown page."""
    command = " ".join(["python", "benchmarks/fuzz_bounds.py", *sys.argv[1:]])
    lines = [
        "# Commands for millions of fuzzed streams of observations",
        "",
        f"`{command}` wrote this page at revision {git_revision()}, in {seconds / 60:.0f} minutes. The time says "
        "nothing where other programs ran.",
        f"Machine: {machine()}.",
        "",
        f"{options.pieces} pieces make a row. Python's piece p draws from the seed [{options.seed}, p], that of C++ "
        f"from the seed {options.seed} + p. A stream is {options.length} observations in a row: ordinary, frozen, "
        "jumped, spiked with NaN, infinite, huge and denormal numbers, of every magnitude, random bits, or denormal. "
        "`fuzz_bounds.py` says what the files are. In C++ every stream goes through the policy alone, and through the "
        "policy behind the safety layer, with random gaps and stops; half of them without a ramp-in.",
        "",
        "| file | implementation | streams | rows | observations not finite | commands at a limit "
        "| outside the bounds, or NaN | beyond the slew rate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, implementations in found.items():
        for language, counts in implementations.items():
            lines.append(
                f"| {name} | {language} | {counts.streams:,} | {counts.rows:,} | {counts.unusable:,} "
                f"| {counts.at_limit:,} | {counts.outside} | {counts.jumps} |"
            )
    lines += [
        "",
        "A row is an observation in Python and a command of all joints in C++. Commands are counted joint by joint.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fuzz every file."""
    parser = argparse.ArgumentParser(description="Count commands outside bounds and slew rates.")
    parser.add_argument("policies", type=Path, nargs="*")
    parser.add_argument("--streams", type=int, default=10_000_000, help="of each file")
    parser.add_argument("--length", type=int, default=5, help="observations in a stream")
    parser.add_argument("--pieces", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=None, help="Markdown file that gets the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with_cpp, start = CHECKS.is_file(), time.monotonic()
    if not with_cpp:
        print("C++ is not run: `make controller` builds build/controller/controller_test")
    with tempfile.TemporaryDirectory() as folder:
        found = {
            path.parent.name: fuzz(path, options, with_cpp)
            for path in options.policies or own_policies(Path(folder))
        }
    if options.report is not None:
        options.report.write_text(report(found, options, time.monotonic() - start))
    every = [counts for implementations in found.values() for counts in implementations.values()]
    raise SystemExit(int(any(counts.outside or counts.jumps for counts in every)))


if __name__ == "__main__":
    main()
