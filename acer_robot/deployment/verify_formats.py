"""Check a policy.onnx or policy.pt2 where acer_robot cannot be imported: `python -I verify_formats.py FILE`.

It reads policy.json and test_vectors.npz beside the file. It runs the checks of verify_policy.py, except those of
TorchScript's methods. Its last line is JSON, in the format of verify_policy.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from acer_robot.deployment import verify_policy
else:  # an isolated process cannot import packages, so we load verify_policy.py by its path
    _spec = importlib.util.spec_from_file_location(
        "verify_policy", Path(__file__).with_name("verify_policy.py")
    )
    verify_policy = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(verify_policy)

Forward = Callable[["verify_policy.Floats"], "verify_policy.Floats"]
"""From raw observations [B, n] to commands [B, m]."""
REFUSALS = (AssertionError, RuntimeError, ValueError)


def load_onnx(path: Path) -> tuple[Forward, str]:
    """Return the policy, run by ONNX Runtime on one thread, and its metadata."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def forward(observations: verify_policy.Floats) -> verify_policy.Floats:
        try:
            (commands,) = session.run(["command"], {"observation": observations})
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise RuntimeError(str(error)) from error
        result: verify_policy.Floats = commands
        return result

    return forward, session.get_modelmeta().custom_metadata_map["policy.json"]


def load_pt2(path: Path) -> tuple[Forward, str]:
    """Return the program and its metadata."""
    extra = {"policy.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(path, extra_files=extra).module()

    def forward(observations: verify_policy.Floats) -> verify_policy.Floats:
        with torch.inference_mode():
            commands: verify_policy.Floats = module(torch.from_numpy(observations)).numpy()
        return commands

    return forward, extra["policy.json"]


LOADERS = {".onnx": load_onnx, ".pt2": load_pt2}


def check_file(forward: Forward, inside: str, beside: dict[str, Any], width: int) -> str:
    """Check that the metadata inside and beside the file agree, and that it refuses another observation width."""
    metadata = json.loads(inside)
    if any(beside.get(key) != metadata[key] for key in metadata) or "task" not in metadata:
        raise verify_policy.CheckError("the metadata inside the file and in policy.json differ")
    try:
        forward(np.zeros((2, width + 1), np.float32))
    except REFUSALS:
        return "metadata and width"
    raise verify_policy.CheckError("an observation of the wrong width is not refused")


def verify(path: Path, fuzzed_rows: int) -> dict[str, Any]:
    """Run all checks on a file and return the report."""
    torch.set_num_threads(1)
    beside = json.loads((path.parent / "policy.json").read_text())
    contract = verify_policy.read_contract(path.parent, beside)
    forward, inside = LOADERS[path.suffix](path)

    def step(observations: verify_policy.Floats) -> verify_policy.Floats:
        return forward(observations) if observations.ndim == 2 else forward(observations[None])[0]

    runner = verify_policy.Runner(step, lambda: None)
    checks: dict[str, Callable[[], Any]] = {
        "archive": partial(check_file, forward, inside, beside, contract.width)
    }
    checks |= verify_policy.shared_checks(runner, contract, fuzzed_rows)
    return verify_policy.run_checks(checks)


def main() -> None:
    """Verify the file named on the command line."""
    parser = argparse.ArgumentParser(
        description="Check an exported policy in another format without acer_robot."
    )
    parser.add_argument("policy", type=Path, help="policy.onnx or policy.pt2, beside its companions")
    parser.add_argument("--fuzzed-rows", type=int, default=verify_policy.FUZZED_ROWS)
    arguments = parser.parse_args()
    sys.modules["acer_robot"] = None  # type: ignore[assignment]  # from here on importing it fails
    report = verify(arguments.policy, arguments.fuzzed_rows)
    print(json.dumps(report))
    raise SystemExit(1 if "failed" in report else 0)


if __name__ == "__main__":
    main()
