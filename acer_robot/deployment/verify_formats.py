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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from acer_robot.deployment import verify_policy
else:  # an isolated process cannot import packages, so we load verify_policy.py by its path
    _spec = importlib.util.spec_from_file_location(
        "verify_policy", Path(__file__).with_name("verify_policy.py")
    )
    verify_policy = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(verify_policy)

Floats = npt.NDArray[np.float32]
Forward = Callable[..., tuple[Floats, ...]]
"""From raw observations [B, n] to commands [B, m]; with a rate limit also from a state [B, m] to the next one."""
REFUSALS = (AssertionError, RuntimeError, ValueError)
STATES = 10_000
"""Random observations and states in the check of the state."""


@dataclass(frozen=True)
class Loaded:
    """A file in another format."""

    forward: Forward
    has_state: bool
    metadata: str


class Memory:
    """Runs a file step by step: it keeps the state, which the file itself does not."""

    def __init__(self, loaded: Loaded, joints: int) -> None:
        self._loaded, self._joints = loaded, joints
        self._state: tuple[Floats, ...] = ()

    def reset(self) -> None:
        """Start a new episode."""
        self._state = ()

    def step(self, observations: Floats) -> Floats:
        """Return commands [m] or [B, m] for observations [n] or [B, n]."""
        rows = np.atleast_2d(observations)
        if self._loaded.has_state and not self._state:
            self._state = (np.zeros((len(rows), self._joints), np.float32),)
        commands, *state = self._loaded.forward(rows, *self._state)
        self._state = tuple(state)
        return commands if observations.ndim == 2 else commands[0]


def load_onnx(path: Path) -> Loaded:
    """Return the policy, run by ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    has_state = len(session.get_inputs()) == 2
    outputs = ["command", "next_state"] if has_state else ["command"]

    def forward(*arrays: Floats) -> tuple[Floats, ...]:
        try:
            return tuple(session.run(outputs, dict(zip(("observation", "state"), arrays, strict=False))))
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise RuntimeError(str(error)) from error

    return Loaded(forward, has_state, session.get_modelmeta().custom_metadata_map["policy.json"])


def load_pt2(path: Path) -> Loaded:
    """Return the program."""
    extra = {"policy.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(path, extra_files=extra)
        module = program.module()

    def forward(*arrays: Floats) -> tuple[Floats, ...]:
        with torch.inference_mode():
            outputs = module(*map(torch.from_numpy, arrays))
        return tuple(each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,)))

    return Loaded(forward, len(program.graph_signature.user_inputs) == 2, extra["policy.json"])


LOADERS = {".onnx": load_onnx, ".pt2": load_pt2}


def check_file(loaded: Loaded, beside: dict[str, Any], contract: verify_policy.Contract) -> str:
    """Check that the metadata inside and beside the file agree, and that it refuses another observation width."""
    metadata = json.loads(loaded.metadata)
    if any(beside.get(key) != metadata[key] for key in metadata) or "task" not in metadata:
        raise verify_policy.CheckError("the metadata inside the file and in policy.json differ")
    try:
        Memory(loaded, len(contract.low)).step(np.zeros((2, contract.width + 1), np.float32))
    except REFUSALS:
        return "metadata and width"
    raise verify_policy.CheckError("an observation of the wrong width is not refused")


def check_state(loaded: Loaded, contract: verify_policy.Contract) -> str:
    """Check that commands keep bounds and slew rates for random states as well, NaN and infinities among them."""
    random, joints = np.random.default_rng(2), len(contract.low)
    for scale in (None, 1.0, 1e3):
        observations, states = (
            random.integers(0, 2**32, (STATES, width), dtype=np.uint32).view(np.float32)
            if scale is None
            else (scale * random.standard_normal((STATES, width))).astype(np.float32)
            for width in (contract.width, joints)
        )
        commands, following = loaded.forward(observations, states)
        if contract.outside(commands).any():
            raise verify_policy.CheckError("a command leaves its bounds for a random state")
        finite = np.where(np.isnan(states), 0.0, states.astype(np.float64))
        last = np.clip(contract.rest + finite, contract.low, contract.high)
        change = np.abs(commands.astype(np.float64) - last)
        if not (change <= contract.steps + 2.0 * contract.rounding).all():
            raise verify_policy.CheckError(
                "a command changes faster than its slew rate allows, for a random state"
            )
        if not (np.abs(contract.rest + following - commands) <= 2.0 * contract.rounding).all():
            raise verify_policy.CheckError("the next state is not the command minus the command at rest")
    return f"{3 * STATES} random states"


def verify(path: Path, fuzzed_rows: int) -> dict[str, Any]:
    """Run all checks on a file and return the report."""
    torch.set_num_threads(1)
    beside = json.loads((path.parent / "policy.json").read_text())
    contract = verify_policy.read_contract(path.parent, beside)
    loaded = LOADERS[path.suffix](path)
    memory = Memory(loaded, len(contract.low))
    checks: dict[str, Callable[[], Any]] = {"archive": partial(check_file, loaded, beside, contract)}
    if loaded.has_state:
        checks["state"] = partial(check_state, loaded, contract)
    checks |= verify_policy.shared_checks(
        verify_policy.Runner(memory.step, memory.reset), contract, fuzzed_rows
    )
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
