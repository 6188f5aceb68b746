"""Check an exported policy without acer_robot: `python -I verify_policy.py policy.pt`.

It also reads `policy.json` and `test_vectors.npz` beside the file. It needs only torch and numpy. Its last line is
JSON: the result of each check. If a check fails, the JSON names it and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]
Act = Callable[[Floats], Floats]
"""From raw observations [n] or [B, n] to commands [m] or [B, m]."""

TOLERANCE = 1e-5
"""Largest difference from the training-side policy, in units of max(1, half the joint's range)."""
FUZZED_ROWS = 100_000
"""Random observations in the largest batch of the bounds check, unless the caller gives another number."""
LATENCY_CALLS = 2_000
RATE_STEPS = 2_000
"""Random observations in a row in the sequence check, and again with each one held for HELD steps."""
HELD = 100


@dataclass(frozen=True)
class Runner:
    """A loaded policy."""

    step: Act
    reset: Callable[[], None]

    def fresh(self, observations: Floats) -> Floats:
        """Return the first commands after a reset."""
        self.reset()
        return self.step(observations)


class CheckError(Exception):
    """A check failed; the message says how."""


@dataclass(frozen=True)
class Contract:
    """What an exported file promises, read from its metadata and test vectors."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    fallback: npt.NDArray[np.float64]
    rest: npt.NDArray[np.float64]
    """[m] command at rest, from which slew rates and low-pass start."""
    steps: npt.NDArray[np.float64]
    """[m] largest change from one command to the next; inf: no limit."""
    control_dt: float
    vectors: dict[str, Floats]

    @property
    def width(self) -> int:
        """Observation width n."""
        return int(self.vectors["observations"].shape[1])

    @property
    def rounding(self) -> npt.NDArray[np.float64]:
        """[m] distance between neighbouring float32 numbers at the larger bound."""
        largest = np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float32)
        return np.spacing(largest).astype(np.float64)

    @property
    def tolerance(self) -> npt.NDArray[np.float64]:
        """[m] largest permitted difference of a command, including one rounding error."""
        return TOLERANCE * np.maximum(1.0, 0.5 * self.high - 0.5 * self.low) + self.rounding

    def outside(self, commands: Floats) -> npt.NDArray[np.bool_]:
        """Return where commands [B, m] are outside the bounds. NaN is outside.

        If a range holds no float32 number, the number nearest to its middle is inside.
        """
        exact = commands.astype(np.float64)
        inside = (exact >= self.low) & (exact <= self.high)
        nearest = (0.5 * self.low + 0.5 * self.high).astype(np.float32)
        outside: npt.NDArray[np.bool_] = ~(inside | (commands == nearest))
        return outside


def check_parity(runner: Runner, contract: Contract) -> str:
    """Check the commands against the training-side policy, for ordinary and for extreme finite observations."""
    worst = 0.0
    for kind in ("", "extreme_"):
        observations, expected = contract.vectors[f"{kind}observations"], contract.vectors[f"{kind}commands"]
        usable = np.isfinite(observations).all(axis=1)
        error = np.abs(runner.fresh(observations) - expected)[usable]
        rounding = contract.vectors.get(f"{kind}rounding", np.zeros_like(expected))
        allowed = contract.tolerance + rounding[usable]
        if not (error <= allowed).all():
            row, joint = np.argwhere(~(error <= allowed))[0]
            raise CheckError(f"command {joint} of {kind}observation {row} is off by {error[row, joint]:.3g}")
        worst = max(worst, float(error.max(initial=0.0)))
    return f"largest difference {worst:.2g}"


def check_fallback(runner: Runner, contract: Contract) -> str:
    """Check that an observation with a non-finite entry gets the recorded fallback command, in a batch and alone."""
    observations = contract.vectors["extreme_observations"]
    unusable = ~np.isfinite(observations).all(axis=1)
    commands = runner.fresh(observations)
    singles = np.stack([runner.fresh(row) for row in observations])
    expected, allowed = contract.fallback.astype(np.float32), np.zeros_like(contract.fallback)
    if (contract.fallback != contract.rest).any():
        # With slew rates or a low-pass the first command only approaches the fallback command.
        expected, allowed = contract.vectors["extreme_commands"][unusable], contract.rounding
    for name, got in (("in a batch", commands), ("alone", singles)):
        if not (np.abs(got[unusable] - expected) <= allowed).all():
            raise CheckError(f"a non-finite observation {name} does not give the fallback command")
    return f"{int(unusable.sum())} non-finite observations"


def check_bounds(runner: Runner, contract: Contract, fuzzed_rows: int = FUZZED_ROWS) -> str:
    """Check that commands stay within bounds for random bit patterns and magnitudes, in batches of many sizes."""
    random, rows = np.random.default_rng(0), 0
    for size in (1, 2, 7, 8, 64, 1000, fuzzed_rows):
        bits = random.integers(0, 2**32, (size, contract.width), dtype=np.uint32).view(np.float32)
        powers = 10.0 ** random.uniform(-46.0, 38.5, (size, contract.width))
        with np.errstate(over="ignore", under="ignore"):
            scaled = (random.standard_normal((size, contract.width)) * powers).astype(np.float32)
        for observations in (bits, scaled):
            outside = contract.outside(runner.fresh(observations))
            if outside.any():
                row, joint = np.argwhere(outside)[0]
                raise CheckError(f"command {joint} leaves its bounds for {observations[row].tolist()}")
            rows += size
    return f"{rows} random observations"


def check_batches(runner: Runner, contract: Contract) -> str:
    """Check that single observations and batches of 1 and 8 give the same commands."""
    observations = contract.vectors["observations"]
    for start in range(0, len(observations) - 7, 8):
        rows = observations[start : start + 8]
        together = runner.fresh(rows)
        for row, command in zip(rows, together, strict=True):
            for other in (runner.fresh(row), runner.fresh(row[None])[0]):
                if other.shape != command.shape or not (np.abs(other - command) <= contract.tolerance).all():
                    raise CheckError("an observation gives one command alone and another in a batch of 8")
    return "single, 1 and 8"


def check_determinism(runner: Runner, contract: Contract) -> str:
    """Check that the same observations give the same bits after a reset."""
    observations = contract.vectors["observations"]
    first = runner.fresh(observations)
    runner.fresh(contract.vectors["extreme_observations"])
    if not np.array_equal(first, runner.fresh(observations)):
        raise CheckError("the same observations gave other commands the second time")
    return "bitwise"


def check_latency(runner: Runner, contract: Contract) -> dict[str, float]:
    """Measure the time of a command on one thread in microseconds. The median must be within a control period."""
    row = contract.vectors["observations"][0]
    runner.reset()
    for _ in range(100):
        runner.step(row)
    times = np.empty(LATENCY_CALLS)
    for i in range(LATENCY_CALLS):
        start = time.perf_counter_ns()
        runner.step(row)
        times[i] = (time.perf_counter_ns() - start) / 1e3
    p50, p99 = (float(np.percentile(times, q)) for q in (50, 99))
    if p50 > contract.control_dt * 1e6:
        raise CheckError(
            f"takes {p50:.0f} us, longer than the control period of {contract.control_dt * 1e6:.0f} us"
        )
    return {"p50": round(p50, 1), "p99": round(p99, 1), "max": round(float(times.max()), 1)}


def check_sequence(runner: Runner, contract: Contract) -> str:
    """Check the commands of a sequence against the training side, and bounds and slew rates in random sequences."""
    observations, expected = contract.vectors["sequence_observations"], contract.vectors["sequence_commands"]
    runner.reset()
    error = np.abs(np.stack([runner.step(row) for row in observations]) - expected)
    if not (error <= contract.tolerance).all():
        step = int(np.flatnonzero(~(error <= contract.tolerance).all(axis=1))[0])
        raise CheckError(f"command {step} after a reset is off by {error[step].max():.3g}")
    bits = np.random.default_rng(1).integers(0, 2**32, (RATE_STEPS, contract.width), dtype=np.uint32)
    random = bits.view(np.float32)
    # Held long, an observation takes a command that a slew rate or a low-pass slows down to where it would end.
    for rows in (random, random[: RATE_STEPS // HELD].repeat(HELD, axis=0)):
        runner.reset()
        commands = np.stack([runner.step(row) for row in rows])
        changes = np.abs(np.diff(commands.astype(np.float64), axis=0, prepend=contract.rest[None]))
        if contract.outside(commands).any():
            raise CheckError("a command leaves its bounds in a random sequence")
        if not (changes <= contract.steps + contract.rounding).all():
            raise CheckError("a command changes faster than its slew rate allows")
    checked = "bounds and slew rates" if np.isfinite(contract.steps).any() else "bounds"
    return f"{len(observations)} in a row, {checked} for {RATE_STEPS} random observations"


SHARED_CHECKS: dict[str, Callable[[Runner, Contract], Any]] = {
    "parity": check_parity,
    "fallback": check_fallback,
    "bounds": check_bounds,
    "batches": check_batches,
    "determinism": check_determinism,
    "sequence": check_sequence,
    "latency_us": check_latency,
}


def shared_checks(runner: Runner, contract: Contract, fuzzed_rows: int) -> dict[str, Callable[[], Any]]:
    """Return the checks that every format must pass, ready to call. The bounds check draws up to `fuzzed_rows` rows."""
    checks: dict[str, Callable[[], Any]] = {
        name: partial(check, runner, contract) for name, check in SHARED_CHECKS.items()
    }
    return checks | {"bounds": partial(check_bounds, runner, contract, fuzzed_rows)}


def check_archive(
    module: torch.jit.ScriptModule, archived: str | bytes, beside: dict[str, Any], contract: Contract
) -> str:
    """Check that all copies of the metadata agree, the hash of the weights, `act` and the error for a wrong width."""
    inside = json.loads(archived)
    if json.loads(module.metadata()) != inside or any(beside.get(key) != inside[key] for key in inside):
        raise CheckError("the metadata inside the file, from its method metadata() and in policy.json differ")
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode() + tensor.numpy().tobytes())
    if digest.hexdigest() != beside["weights_sha256"]:
        raise CheckError("the sha256 of the weights is not the one in the metadata")
    module.reset()
    _, usable = module.act(torch.from_numpy(contract.vectors["extreme_observations"]))
    if not np.array_equal(usable.numpy(), np.isfinite(contract.vectors["extreme_observations"]).all(axis=1)):
        raise CheckError("act() does not report exactly the non-finite observations as unusable")
    try:
        module(torch.zeros(contract.width + 1))
    except torch.jit.Error as error:
        if str(contract.width) in str(error) and str(contract.width + 1) in str(error):
            return "metadata, weights, methods and width"
    raise CheckError("an observation of the wrong width is not refused with both widths named")


def read_contract(folder: Path, metadata: dict[str, Any]) -> Contract:
    """Read from policy.json and test_vectors.npz what the file promises."""
    bounds = metadata["task"]["bounds"]
    with np.load(folder / "test_vectors.npz") as arrays:
        vectors = {name: arrays[name] for name in arrays.files}
    low, high = np.array(bounds["low"]), np.array(bounds["high"])
    fallback, rest = (
        np.array(metadata[name])
        for name in ("fallback", "filter_start" if "filter_start" in metadata else "rest")
    )
    dt, rates = metadata["task"]["control_dt"], metadata["task"]["slew_rate"] or [None] * len(low)
    steps = np.array([np.inf if rate is None else rate * dt for rate in rates])
    return Contract(low, high, fallback, rest, steps, dt, vectors)


def verify_torchscript(path: Path, fuzzed_rows: int = FUZZED_ROWS) -> dict[str, Any]:
    """Run all checks on a policy.pt and return the report."""
    torch.set_num_threads(1)
    beside = json.loads(path.with_suffix(".json").read_text())
    contract = read_contract(path.parent, beside)
    extra: dict[str, str | bytes] = {"policy.json": ""}  # torch fills in bytes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]

    def step(observations: Floats) -> Floats:
        with torch.inference_mode():
            commands: Floats = module.forward(torch.from_numpy(observations)).numpy()
        return commands

    checks: dict[str, Callable[[], Any]] = {
        "archive": partial(check_archive, module, extra["policy.json"], beside, contract)
    }
    checks |= shared_checks(Runner(step, module.reset), contract, fuzzed_rows)
    return run_checks(checks)


def run_checks(checks: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Run checks in order and return their results; stop at the first that fails and name it."""
    report: dict[str, Any] = {}
    for name, check in checks.items():
        try:
            report[name] = check()
        except (CheckError, RuntimeError, torch.jit.Error) as error:
            return {"failed": name, "detail": str(error).strip().splitlines()[-1], **report}
    return report


def main() -> None:
    """Verify the file named on the command line."""
    parser = argparse.ArgumentParser(description="Check an exported policy without acer_robot.")
    parser.add_argument("policy", type=Path, help="policy.pt, beside policy.json and test_vectors.npz")
    parser.add_argument(
        "--fuzzed-rows", type=int, default=FUZZED_ROWS, help="random observations in one batch"
    )
    arguments = parser.parse_args()
    sys.modules["acer_robot"] = None  # type: ignore[assignment]  # from here on importing it fails
    report = verify_torchscript(arguments.policy, arguments.fuzzed_rows)
    print(json.dumps(report))
    raise SystemExit(1 if "failed" in report else 0)


if __name__ == "__main__":
    main()
