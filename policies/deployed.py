"""The exported file: raw observation in, joint commands in actuator units out, safe for whatever comes in.

This is the one place that touches TorchScript, which upstream has deprecated; the module itself is plain
enough for `torch.export` and ONNX. A TorchScript archive is code: load one only from a source that you would
run a program from.
"""

import copy
import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acer_robot.errors import InputError
from acer_robot.policies.policy import Policy
from acer_robot.spec import ActionBounds, FloatArray, TaskSpec, representable_limits

SCHEMA_VERSION = 1
"""Version of policy.json that this code writes and reads."""
METADATA_FILE = "policy.json"
RAW_LIMIT = 1e9
"""Limit of observations that are not normalised, so that no finite one can overflow the network."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Affine(nn.Module):
    """W x + b for one vector [n], where addmv takes three quarters of F.linear's time, or a batch [B, n]."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().float().clone().contiguous())
        self.register_buffer("bias", bias.detach().float().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return [m] or [B, m]."""
        if x.dim() == 1:
            return torch.addmv(self.bias, self.weight, x)
        return torch.addmm(self.bias, x, self.weight.t())


class DeployedPolicy(nn.Module):
    """The deterministic average policy with its normaliser, squash, rescaling and limits inside.

    Three things make its promise hold for every float32 input. Finite observations are limited before the
    network, whose weights are checked at construction so that it cannot overflow then. A non-finite entry
    makes the whole row NaN (through `poison`, 0 * x), and NaN becomes the fallback command. The last
    operation clips to bounds that were rounded inwards to float32.

    Commands are computed as offsets from the fallback command, so that replacing NaN by zero yields it.

    Raises:
        InputError: if a weight is not finite, or so large that the network could overflow float32.
    """

    __constants__ = ("clips", "has_mean_bound", "mean_bound", "observation_size", "rests_at_zero")
    mean: Tensor
    lowest: Tensor
    highest: Tensor
    half_range: Tensor
    fallback: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, policy: Policy, bounds: ActionBounds) -> None:
        super().__init__()
        normalizer, actor = policy.normalizer, policy.actor
        self.observation_size = int(normalizer.mean.numel())
        self.has_mean_bound = math.isfinite(actor.mean_bound)
        self.mean_bound = float(actor.mean_bound) if self.has_mean_bound else 1.0
        self.clips = actor.squash_kind == "clip"
        self.metadata_json = "{}"
        size = self.observation_size
        mean, scale, reach = torch.zeros(size), torch.ones(size), torch.full((size,), RAW_LIMIT)
        if normalizer.enabled:
            mean = normalizer.mean.detach().float().clone()
            scale = torch.rsqrt(normalizer.variance.detach().double() + normalizer.eps)
            reach = (normalizer.limit / scale).float()
        self.register_buffer("mean", mean)
        # Limits of the observation's distance from the mean, which the normaliser has in deviations.
        self.register_buffer("lowest", -reach)
        self.register_buffer("highest", reach)
        self.network = _network(policy, scale, self.mean_bound)
        self._register_bounds(bounds)
        _check_weights(self.network, reach)

    def _register_bounds(self, bounds: ActionBounds) -> None:
        low, high = representable_limits(np.asarray(bounds.low), np.asarray(bounds.high), np.float32)
        # Halved first: the difference of two numbers near the end of float32 does not fit into it.
        half_range, middle = 0.5 * high - 0.5 * low, 0.5 * high + 0.5 * low
        fallback = fallback_command(bounds)
        self.rests_at_zero = not fallback.any()
        for name, value in (("low", low), ("high", high), ("half_range", half_range), ("fallback", fallback)):
            self.register_buffer(name, torch.from_numpy(value).float())
        offset = torch.from_numpy(middle - fallback)
        self.poison = Affine(torch.zeros(bounds.size, self.observation_size), offset)

    def forward(self, observation: Tensor) -> Tensor:
        """Return commands [m] or [B, m] in actuator units for raw float32 observations [n] or [B, n]."""
        return self._command(self._offset(observation))

    @torch.jit.export
    def act(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return commands and, as bool [] or [B], whether the observation was usable (else: the fallback)."""
        offset = self._offset(observation)
        total = offset.sum(-1)
        usable = total == total  # false for NaN alone
        return self._command(offset), usable

    @torch.jit.export
    def reset(self) -> None:
        """Start a new episode. This policy remembers nothing; a controller calls it all the same."""

    @torch.jit.export
    def metadata(self) -> str:
        """Return the contents of policy.json."""
        return self.metadata_json

    def _offset(self, observation: Tensor) -> Tensor:
        """Return commands minus the fallback command; a row with a non-finite entry is NaN throughout."""
        width = observation.size(-1) if observation.dim() > 0 else 0
        if width != self.observation_size:
            raise ValueError(
                f"the observation has width {width}; this policy expects {self.observation_size}"
            )
        if observation.dim() > 2 or observation.dtype != torch.float32:
            raise ValueError("this policy expects float32 observations of shape [n] or [B, n]")
        centred = (observation - self.mean).clamp_(self.lowest, self.highest)
        action = self.network(centred)
        if self.has_mean_bound:
            action = action.tanh_().mul_(self.mean_bound)
        action = action.clamp_(-1.0, 1.0) if self.clips else action.tanh_()
        return torch.addcmul(self.poison(observation), action, self.half_range)

    def _command(self, offset: Tensor) -> Tensor:
        command = offset.nan_to_num_(0.0)
        if not self.rests_at_zero:
            command = command.add_(self.fallback)
        return command.clamp_(self.low, self.high)


def fallback_command(bounds: ActionBounds) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the command [m] for unusable observations: zero where within bounds, else the middle."""
    low, high = representable_limits(np.asarray(bounds.low), np.asarray(bounds.high), np.float32)
    middle = (0.5 * low + 0.5 * high).astype(np.float32).astype(np.float64)
    return np.where((low <= 0.0) & (high >= 0.0), 0.0, np.clip(middle, low, high))


def _network(policy: Policy, scale: Tensor, mean_bound: float) -> nn.Sequential:
    """Copy trunk and mean head; the first weights take in the normaliser's scale, the last ones 1 / bound."""
    actor = policy.actor
    layers: list[nn.Module] = []
    for layer in actor.trunk:
        if isinstance(layer, nn.Linear):
            weight = layer.weight.detach().double()
            layers.append(Affine(weight * scale if not layers else weight, layer.bias))
        elif isinstance(layer, nn.ReLU):
            layers.append(nn.ReLU(inplace=True))
        else:
            layers.append(copy.deepcopy(layer).float().requires_grad_(False))
    weight, bias = actor.head.weight[: actor.action_size], actor.head.bias[: actor.action_size]
    layers.append(Affine(weight.detach().double() / mean_bound, bias.detach().double() / mean_bound))
    return nn.Sequential(*layers)


def _check_weights(network: nn.Sequential, reach: Tensor) -> None:
    """Bound every intermediate value for inputs within +-reach, by the triangle inequality in float64."""
    largest = reach.double()
    for layer in network:
        if isinstance(layer, Affine):
            largest = layer.weight.double().abs() @ largest + layer.bias.double().abs()
        elif isinstance(layer, nn.LayerNorm):
            # It squares its input's distance from the mean; its output lies within sqrt(width) of each bias.
            squares = (2.0 * largest).square().sum()
            gain, shift = layer.weight.double().abs(), layer.bias.double().abs()
            largest = gain * math.sqrt(largest.numel()) + shift
            largest = torch.maximum(largest, squares * 0.0 if squares < FLOAT32_MAX else squares)
        if not bool((largest < FLOAT32_MAX).all()):
            raise InputError(
                "the policy has weights that are not finite, or so large that float32 can overflow; "
                "training has diverged: export an earlier run"
            )


def save_deployed(module: DeployedPolicy, metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Script the module and write it with its metadata, in the archive both as a method and as policy.json.

    Args:
        module: the policy; its `metadata()` is set here.
        metadata: JSON-ready and finite.
        path: the file to write.

    Returns:
        The metadata as written, with `weights_sha256`.
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
    """Call it with raw float32 observations [n] or [B, n]; see `DeployedPolicy` for its methods."""
    metadata: dict[str, Any]
    """The contents of policy.json."""
    spec: TaskSpec

    def act(self, observations: FloatArray) -> FloatArray:
        """Return commands [B, m] in actuator units for raw observations [B, n]."""
        with torch.inference_mode():
            commands: FloatArray = self.module(torch.from_numpy(observations)).numpy()
        return commands


def load_deployed(path: Path) -> LoadedPolicy:
    """Load an exported policy on the CPU, after comparing it with the sha256 in the .json beside it, if any.

    A TorchScript archive is code: load one only from a source that you would run a program from.

    Raises:
        InputError: if the file is missing, corrupt, foreign, of another schema, or not what its hashes say.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a policy.pt that acer-export wrote")
    _check_file_hash(path)
    extra = {METADATA_FILE: ""}
    try:
        with _torchscript_is_deprecated():
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"{path} cannot be read as a TorchScript file: {first_line}") from error
    try:
        metadata = json.loads(extra[METADATA_FILE])
    except json.JSONDecodeError as error:
        raise InputError(f"{path} holds no policy.json; it was not written by acer-export") from error
    version = metadata.get("schema_version") if isinstance(metadata, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"{path} has metadata of schema {version}; this version reads {SCHEMA_VERSION}")
    if weights_sha256(module) != metadata["weights_sha256"]:
        raise InputError(f"{path} has other weights than its metadata says; export it again")
    return LoadedPolicy(module, metadata, TaskSpec.from_dict(metadata["task"]))


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256 over name, shape and little-endian bytes of every tensor, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().numpy()
        digest.update(f"{name}{list(array.shape)}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _check_file_hash(path: Path) -> None:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return
    try:
        expected = json.loads(beside.read_text())["file_sha256"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{beside} is not the metadata of an exported policy; restore or remove it"
        ) from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise InputError(f"{path} is not the file whose sha256 {beside.name} gives; copy both again")


@contextmanager
def _torchscript_is_deprecated() -> Iterator[None]:
    with warnings.catch_warnings():
        # "`torch.jit.script` is deprecated": a DeprecationWarning, from torch 2.14 on a FutureWarning.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=category)
        yield
