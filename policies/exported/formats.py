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


def save_format(name: str, module: ExportedPolicy, metadata: Mapping[str, Any], folder: Path) -> Path:
    """Write a policy in one of `OTHER_FORMATS` and return the file.

    Both formats take observations [B, n] for any B and return commands [B, m], as the module's `forward` does.

    Args:
        name: "onnx" or "pt2". "onnx" has input "observation", output "command", and its metadata in `metadata_props`
            under "policy.json". "pt2" has its metadata in the extra file "policy.json".
        module: a policy without slew rates and without low-pass, because these formats cannot keep state.
        metadata: values that JSON can hold.
        folder: where the file goes.

    Raises:
        InputError: if the policy limits how fast its commands change.
    """
    if module.is_filtered:
        raise InputError(
            f"formats: {name} cannot remember the last command, which slew rates and low-pass need; "
            f"export this policy with formats=[torchscript]"
        )
    text, path = json.dumps(metadata, indent=2, allow_nan=False), folder / OTHER_FORMATS[name]
    example = (torch.zeros(2, module.observation_size),)
    batch = {"observation": {0: torch.export.Dim("batch", min=1)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about their own use of torch
        program = torch.export.export(module.eval(), example, dynamic_shapes=batch)
        if name == "pt2":
            torch.export.save(program, path, extra_files={"policy.json": text})
        else:
            _save_onnx(program, text, path)
    return path


def _save_onnx(program: torch.export.ExportedProgram, metadata: str, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # below ERROR it logs each of its passes
    converted = torch.onnx.export(
        program, input_names=["observation"], output_names=["command"], dynamo=True, verbose=False
    )
    assert converted is not None
    converted.model.metadata_props["policy.json"] = metadata
    converted.save(str(path))
