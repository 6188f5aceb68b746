"""The exported file: how we write it, and how we check it when we load it.

PyTorch has deprecated TorchScript, so few modules use it: this one, `module.py` and `verify_policy.py`. A TorchScript
file is code: load it only from a source that you trust.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec

SCHEMA_VERSION = 2
"""Version of policy.json that this code writes. Version 2 says what robot the file is made for."""
READABLE_VERSIONS = (1, 2)
"""Versions that this code reads."""
METADATA_FILE = "policy.json"
SINCE_EXPORT = ("file_sha256", "verification", "other_formats")
"""Entries of the policy.json beside the file that the one inside it cannot have."""
WARM_UP_CALLS = 50
"""Calls before a loop starts. TorchScript compiles during the first calls, so these are slow."""


def save_exported(module: ExportedPolicy, metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Script the module and write it with its metadata. The file holds the metadata as a method and as policy.json.

    Args:
        module: the policy. This function sets its `metadata()`.
        metadata: values that JSON can hold, without NaN and infinities.
        path: the file to write.

    Returns:
        The metadata that the file holds, with `weights_sha256`.
    """
    complete = {**metadata, "weights_sha256": weights_sha256(module)}
    module.metadata_json = json.dumps(complete, indent=2, allow_nan=False)
    with _torchscript_is_deprecated():
        scripted = torch.jit.script(module.eval())
        torch.jit.save(scripted, str(path), _extra_files={METADATA_FILE: module.metadata_json})
    return complete


@dataclass(frozen=True)
class LoadedPolicy:
    """An exported file, ready to act."""

    module: torch.jit.ScriptModule
    """Call it with raw float32 observations [n] or [B, n]; see `ExportedPolicy` for its methods."""
    metadata: dict[str, Any]
    """The contents of policy.json."""
    spec: TaskSpec

    @property
    def task_config(self) -> TaskConfig:
        """Options of the task for this file. They have no rate limit, because the file itself limits its commands."""
        recorded = TaskConfig(**decode_options(self.metadata["task_config"]))
        return dataclasses.replace(recorded, slew_rate={}, low_pass_hz=None)

    def reset(self) -> None:
        """Start a new episode, or a batch of episodes."""
        self.module.reset()

    def warm_up(self) -> None:
        """Make the slow first calls before a loop starts; the next call starts an episode."""
        for _ in range(WARM_UP_CALLS):
            self.act(torch.zeros(self.spec.observation_size))
        self.reset()

    def act(self, observations: Tensor) -> Tensor:
        """Return commands [B, m] in actuator units for raw float32 observations [B, n], on the CPU."""
        with torch.inference_mode():
            commands: Tensor = self.module(observations)
        return commands


def encode_options(value: Any) -> Any:  # noqa: ANN401 (any nesting of options)
    """Return options in a form that JSON can hold. A non-finite float becomes, for example, `{"float": "inf"}`."""
    if isinstance(value, dict):
        return {name: encode_options(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_options(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def decode_options(value: Any) -> Any:  # noqa: ANN401 (any nesting of options)
    """Return the options that `encode_options` encoded. Tuples come back as lists.

    >>> decode_options(encode_options({"healthy_z_range": [0.7, float("inf")]}))
    {'healthy_z_range': [0.7, inf]}
    """
    if isinstance(value, dict):
        if value.keys() == {"float"} and isinstance(value["float"], str):
            return float(value["float"])
        return {name: decode_options(item) for name, item in value.items()}
    return [decode_options(item) for item in value] if isinstance(value, list) else value


def load_exported(path: Path) -> LoadedPolicy:
    """Load an exported policy on the CPU. If a .json lies beside it, compare the file with what it says.

    A TorchScript file is code: load it only from a source that you trust.

    Raises:
        InputError: if the file is missing, corrupt, not from acer-export, of another schema, or does not match its
            hashes.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a policy.pt that acer-export wrote")
    beside = _read_beside(path)
    extra = {METADATA_FILE: ""}
    try:
        with _torchscript_is_deprecated():
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except DAMAGE as error:
        raise InputError(
            f"{path} cannot be read as a TorchScript file: {first_line(error)}; copy or export it again"
        ) from error
    try:
        metadata = json.loads(extra[METADATA_FILE])
    except DAMAGE as error:
        raise InputError(
            f"{path} holds no policy.json; it was not written by acer-export, or is damaged: export it again"
        ) from error
    version = metadata.get("schema_version") if isinstance(metadata, dict) else None
    if version not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise InputError(f"{path} has metadata of schema {version}; this version reads {readable}")
    if weights_sha256(module) != metadata.get("weights_sha256"):
        raise InputError(f"{path} has other weights than those that its metadata records; export it again")
    _check_beside(path, beside, metadata)
    return _loaded(path, module, metadata)


def _loaded(path: Path, module: torch.jit.ScriptModule, metadata: dict[str, Any]) -> LoadedPolicy:
    """Return the policy if both copies of its metadata agree and describe a task."""
    try:
        if json.loads(module.metadata()) != metadata:
            raise InputError("its policy.json was changed after the export")
        spec = TaskSpec.from_dict({**metadata["task"], "robot": metadata.get("robot")})
        loaded = LoadedPolicy(module, metadata, spec)
        _ = loaded.task_config
    except InputError as error:
        raise InputError(f"{path} has metadata that cannot be used: {error}; export it again") from error
    except DAMAGE as error:
        raise InputError(
            f"{path} has metadata that cannot be used: {type(error).__name__}: {first_line(error)}; export it again"
        ) from error
    return loaded


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256 over name, shape and little-endian bytes of every tensor, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().numpy()
        digest.update(f"{name}{list(array.shape)}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _read_beside(path: Path) -> dict[str, Any] | None:
    """Return the policy.json beside a file, None where there is none.

    Raises:
        InputError: if it is damaged, or the file is not the one that it was written for.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        expected = content["file_sha256"]
    except DAMAGE as error:
        raise InputError(
            f"{beside} is not the metadata of an exported policy; restore or remove it"
        ) from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise InputError(f"{path} does not have the sha256 that {beside.name} records; copy both files again")
    return content  # type: ignore[no-any-return]


def _check_beside(path: Path, beside: dict[str, Any] | None, metadata: dict[str, Any]) -> None:
    """Raise InputError if the policy.json beside a file says something else than the one inside it."""
    if beside is None:
        return
    said = {name: value for name, value in beside.items() if name not in SINCE_EXPORT}
    for name in sorted(said.keys() | metadata.keys()):
        if name not in said or name not in metadata or said[name] != metadata[name]:
            raise InputError(
                f"{path.with_suffix('.json')} was changed after the export: its {name!r} is not that of {path.name}; "
                "restore it from a copy, or export again"
            )


@contextmanager
def _torchscript_is_deprecated() -> Iterator[None]:
    with warnings.catch_warnings():
        # "`torch.jit.script` is deprecated": a DeprecationWarning, from torch 2.14 on a FutureWarning.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=category)
        yield
