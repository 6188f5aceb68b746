"""The exported policy as ONNX or as a `torch.export` program, for runtimes that do not read TorchScript."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acer_robot.errors import InputError
from acer_robot.policies.exported.module import ExportedPolicy

OTHER_FORMATS = {"onnx": "policy.onnx", "pt2": "policy.pt2"}
"""The file name of each format."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_format(name: str) -> None:
    """Raise InputError if the packages that write and check a format are not installed."""
    missing = [package for package in ONNX_PACKAGES if find_spec(package) is None] if name == "onnx" else []
    if missing:
        raise InputError(
            f'formats: onnx needs {", ".join(missing)}; install them: pip install "acer-robot[formats]"'
        )


class _Step(nn.Module):
    """A policy with a rate limit as a function without memory: `ExportedPolicy.step` as `forward`."""

    def __init__(self, policy: ExportedPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return commands and the next state."""
        return self.policy.step(observation, state)


def save_format(name: str, module: ExportedPolicy, metadata: Mapping[str, Any], folder: Path) -> Path:
    """Write a policy in one of `OTHER_FORMATS` and return the file.

    Both formats take observations [B, n] for any B and return commands [B, m], as the module's `forward` does. They
    keep no memory. If the policy has slew rates or a low-pass, they also take the state [B, m], and also return the
    next state, as `ExportedPolicy.step` does.

    Args:
        name: "onnx" or "pt2". "onnx" has the inputs "observation" and "state", the outputs "command" and "next_state",
            and its metadata in `metadata_props` under "policy.json". "pt2" has its metadata in the extra file
            "policy.json".
        module: the policy.
        metadata: values that JSON can hold.
        folder: where the file goes.
    """
    text, path = json.dumps(metadata, indent=2, allow_nan=False), folder / OTHER_FORMATS[name]
    inputs, outputs = ["observation"], ["command"]
    examples = [torch.zeros(2, module.observation_size)]
    function: nn.Module = module.eval()
    if module.is_filtered:
        inputs, outputs = [*inputs, "state"], [*outputs, "next_state"]
        examples.append(torch.zeros(2, module.rest.numel()))
        function = _Step(module).eval()
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about their own use of torch
        program = torch.export.export(
            function, tuple(examples), dynamic_shapes={name: {0: batch} for name in inputs}
        )
        if name == "pt2":
            torch.export.save(program, path, extra_files={"policy.json": text})
        else:
            _save_onnx(program, inputs, outputs, text, path)
    return path


def _save_onnx(
    program: torch.export.ExportedProgram, inputs: list[str], outputs: list[str], metadata: str, path: Path
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # below ERROR it logs each of its passes
    converted = torch.onnx.export(
        program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False
    )
    assert converted is not None
    converted.model.metadata_props["policy.json"] = metadata
    converted.save(str(path))
