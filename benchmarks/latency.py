"""What one decision of a 2x256 policy takes on one core: the exported file in every runtime, in turn.

    make controller && python benchmarks/latency.py [--rounds 10] [--calls 2000]

Each round times every contender for `--calls` single observations, so that what else runs on the machine meets all
alike. A row gives the median of the rounds' p50 and p99 with their range, and the longest call of all.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from fresh_policy import OBSERVATIONS, export, fresh_run, machine

from acer_robot.policies.exported.file import SCHEMA_VERSION, load_exported
from acer_robot.policies.exported.module import Affine, ExportedPolicy
from acer_robot.run_folder.checkpoints import TrainedRun

CONTROLLER = Path(__file__).parents[1] / "build" / "controller" / "controller"
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Latency of one decision in every runtime.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, for the controller too
    torch.set_num_threads(1)
    run = fresh_run()
    with tempfile.TemporaryDirectory() as folder:
        file = export(run, Path(folder))
        contenders: dict[str, Round | str] = {**in_python(run, file, options.calls)}
        contenders |= other_formats(run, Path(folder), options.calls)
        for name, engine in {
            "TorchScript, C++ controller": ["--libtorch"],
            "packed network, C++ controller": [],
        }.items():
            contenders[name] = (
                (lambda engine=engine: in_cpp(file, *engine))
                if CONTROLLER.exists()
                else "not built; make controller"
            )
        results: dict[str, list[Percentiles] | str] = {
            name: contender if isinstance(contender, str) else [] for name, contender in contenders.items()
        }
        before = machine()
        for _ in range(options.rounds):
            for name, contender in contenders.items():
                result = results[name]
                if not isinstance(contender, str) and not isinstance(result, str):
                    result.append(contender())
    print(f"before: {before}\nafter:  {machine()}")
    print(f"2x256, {OBSERVATIONS} observations, 6 joints; {options.rounds} rounds of {options.calls} calls")
    print("(the controller: 20,000), all on one core\n")
    print(table(results))


if __name__ == "__main__":
    main()
