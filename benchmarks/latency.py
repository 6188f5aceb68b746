"""What one decision of a 2x256 policy takes on one core, in every runtime in turn, and how well drives keep 50 Hz.

    make controller && python benchmarks/latency.py [--rounds 10] [--calls 2000] [--seconds 12]

It takes less than 4 minutes, and writes benchmarks/results/latency.md (`--out`). Run it on a quiet machine.

Each round times every contender for `--calls` single observations, so that what else runs on the machine meets all
alike. A row gives the median of the rounds' p50 and p99 with their range, and the longest call of all. jitter.py then
drives for `--seconds` each, with and without real time, alone and beside a load.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from driving import jitter
from driving.fresh_policy import OBSERVATIONS, export, fresh_run, machine

from acer_robot.policies.exported.file import SCHEMA_VERSION, load_exported
from acer_robot.policies.exported.module import Affine, ExportedPolicy
from acer_robot.provenance import git_revision
from acer_robot.run_folder.checkpoints import TrainedRun

CONTROLLER = Path(__file__).parents[1] / "build" / "controller" / "controller"
RESULTS = Path(__file__).parent / "results" / "latency.md"
PACKED = "packed network, C++ controller"
QUIET = 0.3
"""Load average up to which a machine counts as quiet."""
LINE = re.compile(r"p50 ([\d.]+) us, p99 ([\d.]+) us, max ([\d.]+) us")

Percentiles = tuple[float, float, float]
"""p50, p99 and max of a round, in microseconds."""
Round = Callable[[], Percentiles]


def timed(call: Callable[[], object], calls: int) -> Percentiles:
    """Time single calls, after a few that are not counted."""
    for _ in range(50):
        call()
    times = np.empty(calls)
    for i in range(calls):
        start = time.perf_counter_ns()
        call()
        times[i] = (time.perf_counter_ns() - start) / 1e3
    p50, p99 = (float(np.percentile(times, q)) for q in (50, 99))
    return p50, p99, float(times.max())


def in_inference_mode(call: Callable[[], object], calls: int) -> Percentiles:
    """Time calls within one `torch.inference_mode`."""
    with torch.inference_mode():
        return timed(call, calls)


def in_python(run: TrainedRun, file: Path, calls: int) -> dict[str, Round]:
    """Return the contenders that need nothing but torch."""
    observation = torch.randn(OBSERVATIONS)
    scripted = load_exported(file).module
    module = ExportedPolicy(run.policy, run.spec).eval()
    policy = run.policy
    products = [layer for layer in module.network if isinstance(layer, Affine)]
    inputs = [torch.randn(layer.weight.shape[1]) for layer in products]

    def multiply() -> None:
        for layer, x in zip(products, inputs, strict=True):
            torch.addmv(layer.bias, layer.weight, x)

    return {
        "floor: the three matrix-vector products alone": lambda: in_inference_mode(multiply, calls),
        "TorchScript, forward in inference mode": lambda: in_inference_mode(
            lambda: scripted.forward(observation), calls
        ),
        "TorchScript, plain call": lambda: timed(lambda: scripted(observation), calls),
        "eager, exported module in inference mode": lambda: in_inference_mode(
            lambda: module(observation), calls
        ),
        "eager, training-side policy in inference mode": lambda: in_inference_mode(
            lambda: policy.act(observation), calls
        ),
    }


def other_formats(run: TrainedRun, folder: Path, calls: int) -> dict[str, Round | str]:
    """Return ONNX Runtime and torch.export, or why they are not there."""
    try:
        from acer_robot.policies.exported.formats import save_format
    except ImportError:
        return {"ONNX Runtime": "not installed", "torch.export (.pt2)": "not installed"}
    module, metadata = ExportedPolicy(run.policy, run.spec).eval(), {"schema_version": SCHEMA_VERSION}
    row = torch.randn(1, OBSERVATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(save_format("pt2", module, metadata, folder)).module()
    rounds: dict[str, Round | str] = {
        "torch.export (.pt2) in inference mode": lambda: in_inference_mode(lambda: program(row), calls),
        "ONNX Runtime": "not installed",
    }
    if all(find_spec(package) for package in ("onnx", "onnxscript", "onnxruntime")):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = save_format("onnx", module, metadata, folder)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = {"observation": row.numpy()}
        rounds["ONNX Runtime"] = lambda: timed(lambda: session.run(None, inputs), calls)
    return rounds


def in_cpp(file: Path, *options: str) -> Percentiles:
    """Run `controller --bench`."""
    done = subprocess.run([CONTROLLER, "--bench", file, *options], capture_output=True, text=True, check=True)
    found = LINE.search(done.stdout)
    assert found is not None, done.stdout
    p50, p99, longest = (float(value) for value in found.groups())
    return p50, p99, longest


def table(results: dict[str, list[Percentiles] | str]) -> str:
    """Return a Markdown table."""
    lines = ["| runtime | p50, us (range of rounds) | p99, us (range) | max, us |", "|---|---|---|---|"]
    for name, rounds in results.items():
        if isinstance(rounds, str):
            lines.append(f"| {name} | {rounds} | | |")
            continue
        cells = []
        for values in list(zip(*rounds, strict=True))[:2]:
            cells.append(f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {max(longest for *_, longest in rounds):.0f} |")
    return "\n".join(lines)


def decisions(folder: Path, rounds: int, calls: int) -> dict[str, list[Percentiles] | str]:
    """Time every contender in turn; return its rounds, or why it did not run."""
    run = fresh_run()
    file = export(run, folder)
    contenders: dict[str, Round | str] = {**in_python(run, file, calls)}
    contenders |= other_formats(run, folder, calls)
    for name, engine in {"TorchScript, C++ controller": ["--libtorch"], PACKED: []}.items():
        contenders[name] = (
            (lambda engine=engine: in_cpp(file, *engine))
            if CONTROLLER.exists()
            else "not built; make controller"
        )
    results: dict[str, list[Percentiles] | str] = {
        name: contender if isinstance(contender, str) else [] for name, contender in contenders.items()
    }
    for _ in range(rounds):
        for name, contender in contenders.items():
            result = results[name]
            if not isinstance(contender, str) and not isinstance(result, str):
                result.append(contender())
    return results


def verdicts(results: dict[str, list[Percentiles] | str], drives: dict[str, jitter.Jitter]) -> list[str]:
    """Return one line for each aim, with what was measured."""
    lines, packed = [], results[PACKED]
    if not isinstance(packed, str):
        p50, p99 = (statistics.median(values) for values in list(zip(*packed, strict=True))[:2])
        lines.append(f"- C++, p50 at most 15 us: {p50:.1f} us, {'reached' if p50 <= 15.0 else 'missed'}.")
        reached = "reached" if p99 <= 3.0 * p50 else "missed"
        lines.append(f"- C++, p99 at most 3 times p50: {p99:.1f} us, {p99 / p50:.1f} times, {reached}.")
    for name, row in drives.items():
        if "load" in name and "SCHED_FIFO" in name:
            reached = "reached" if row.p99 < 200.0 else "missed"
            lines.append(f"- Jitter p99 under 200 us at 50 Hz ({name}): {row.p99:.0f} us, {reached}.")
    return lines


def page(
    results: dict[str, list[Percentiles] | str], options: argparse.Namespace, before: str, quiet: bool
) -> str:
    """Return the page without its second part."""
    command = " ".join(["python", "benchmarks/latency.py", *sys.argv[1:]])
    busy = "" if quiet else "\n**Other programs ran: these times say little.**\n"
    return f"""# What one decision takes, and how well drives keep 50 Hz

`{command}` wrote this page at revision {git_revision()}, Python {sys.version.split()[0]}.

- before: {before}
- after:  {machine()}
{busy}
## One decision

2x256, {OBSERVATIONS} observations, 6 joints; {options.rounds} rounds of {options.calls} calls (the controller: 20,000),
all on one core. The C++ path of ONNX Runtime is not among them: its Python wheel has no C++ headers.

{table(results)}
"""


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(
        description="Latency of one decision in every runtime, and jitter of drives."
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each of the eight drives")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    cores, before, quiet = os.sched_getaffinity(0), machine(), os.getloadavg()[0] <= QUIET
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.sched_setaffinity(0, {max(cores)})  # one core, for the controller too
        results = decisions(folder, options.rounds, options.calls)
        os.sched_setaffinity(0, cores)
        text = page(results, options, before, quiet)
        drives, what = jitter.measure(jitter.export(folder), options.seconds, cores)
    text += f"""
## Deadlines at 50 Hz

HalfCheetah-v5 at {1.0 / jitter.DT:.0f} Hz behind the safety layer, {options.seconds:g} s each. Jitter is the time
between a deadline and the tick after it. The load was `{what}`.

{jitter.table(drives)}

## The aims

""" + "\n".join(verdicts(results, drives))
    print(text)
    options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
