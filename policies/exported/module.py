"""The module that acer-export writes. TorchScript, `torch.export` and ONNX can all read its code.

It has no `from __future__ import annotations`, because TorchScript reads the annotations.
"""

import copy
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from acer_robot.errors import InputError
from acer_robot.policies.policy import Policy
from acer_robot.rate_limit import largest_steps, smoothing
from acer_robot.spec import ActionBounds, TaskSpec, fallback_command, representable_limits

RAW_LIMIT = 1e9
"""Limit of observations without a normaliser. With it no finite observation can overflow the network."""
FLOAT32_MAX = float(np.finfo(np.float32).max)

Limits = npt.NDArray[np.float64]


class Affine(nn.Module):
    """W x + b for a vector [n] or a batch [B, n]. For a vector we use addmv: it takes 3/4 of the time of F.linear."""

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


class ExportedPolicy(nn.Module):
    """The deterministic exported policy, with its normaliser, squash, rescaling and limits inside.

    No command leaves its bounds, for any float32 input. Three things ensure this. First, the module limits finite
    observations before the network. The constructor checks the weights, so the network cannot overflow for limited
    observations. Second, a non-finite entry makes its whole row NaN (through `poison`, 0 * x), and the module
    replaces NaN by the fallback command. Third, the last operation clips to bounds that we rounded inwards to float32.

    The module computes commands as offsets from the fallback command. An offset of zero, which replaces NaN, is
    therefore the fallback command.

    If the task has a slew rate or a low-pass, the module remembers the last commands (`CommandFilter` has the
    equation). If the policy was trained with them, the network also gets them, as canonical actions after the
    observation. After `reset()` the module starts from the command at rest again, as in training. The command at rest
    is `fallback_command(bounds)`, also if `fallback` differs. `step` is the same function with the last commands as an
    argument, for formats that cannot remember them.

    Args:
        policy: the policy to export.
        spec: the task.
        fallback: [m] command for unusable observations, exact in float32. None: `fallback_command(bounds)`.

    Raises:
        InputError: if a weight is not finite, or so large that the network could overflow float32.
    """

    __constants__ = (
        "clips",
        "has_mean_bound",
        "is_filtered",
        "mean_bound",
        "observation_size",
        "observes_last_command",
        "rests_at_zero",
        "smoothing",
    )
    mean: Tensor
    lowest: Tensor
    highest: Tensor
    half_range: Tensor
    fallback: Tensor
    rest: Tensor
    low: Tensor
    high: Tensor
    steps: Tensor
    lowest_move: Tensor
    highest_move: Tensor
    fallback_move: Tensor
    middle_move: Tensor
    per_half_range: Tensor

    def __init__(
        self, policy: Policy, spec: TaskSpec, fallback: npt.NDArray[np.float64] | None = None
    ) -> None:
        super().__init__()
        normalizer, actor = policy.normalizer, policy.actor
        self.observation_size = spec.observation_size
        self.observes_last_command = spec.observes_last_command
        self.has_mean_bound = math.isfinite(actor.mean_bound)
        self.mean_bound = float(actor.mean_bound) if self.has_mean_bound else 1.0
        self.clips = actor.squash_kind == "clip"
        self.metadata_json = "{}"
        size = spec.input_size
        mean, scale, reach = torch.zeros(size), torch.ones(size), torch.full((size,), RAW_LIMIT)
        if normalizer.enabled:
            mean = normalizer.mean.detach().float().clone()
            scale = torch.rsqrt(normalizer.variance.detach().double() + normalizer.eps)
            reach = (normalizer.limit / scale).float()
        self.register_buffer("mean", mean)
        # Limits of the observation's distance from the mean. The normaliser has this limit in standard deviations.
        self.register_buffer("lowest", -reach)
        self.register_buffer("highest", reach)
        self.network = _network(policy, scale, self.mean_bound)
        self.register_buffer("steps", torch.from_numpy(largest_steps(spec)).float())
        self.smoothing = smoothing(spec)
        self.is_filtered = self.smoothing < 1.0 or bool(torch.isfinite(self.steps).any())
        self._register_bounds(spec.bounds, fallback_command(spec.bounds) if fallback is None else fallback)
        # These are not buffers: they change, and the hash of the weights must not change with them.
        self.last_move = torch.zeros_like(self.rest)
        self.started = False
        _check_weights(self.network, reach)

    def _register_bounds(self, bounds: ActionBounds, fallback: npt.NDArray[np.float64]) -> None:
        exact_low, exact_high = np.asarray(bounds.low), np.asarray(bounds.high)
        low, high = representable_limits(exact_low, exact_high, np.float32)
        # We halve first, because the difference of two numbers near the largest float32 overflows.
        half_range, middle = 0.5 * exact_high - 0.5 * exact_low, 0.5 * exact_high + 0.5 * exact_low
        self.register_buffer("rest", torch.from_numpy(fallback_command(bounds)).float())
        self.rests_at_zero = not fallback.any()
        for name, value in (("low", low), ("high", high), ("half_range", half_range), ("fallback", fallback)):
            self.register_buffer(name, torch.from_numpy(value).float())
        offset = torch.from_numpy(middle - fallback)
        self.poison = Affine(torch.zeros(bounds.size, self.observation_size), offset)
        if self.is_filtered:
            self._register_filter(low, high, fallback, fallback_command(bounds))

    def _register_filter(self, low: Limits, high: Limits, fallback: Limits, rest: Limits) -> None:
        """Register the buffers of the rate limit.

        The rate limit works on moves. A move is a command minus the command at rest, which float32 resolves even if
        the bounds are narrow.
        """
        half_range, middle = 0.5 * high - 0.5 * low, 0.5 * high + 0.5 * low
        per_half_range = np.divide(1.0, half_range, out=np.zeros_like(half_range), where=half_range > 0.0)
        moves = {"lowest": low, "highest": high, "fallback": fallback, "middle": middle}
        for name, command in moves.items():
            self.register_buffer(f"{name}_move", torch.from_numpy(command - rest).float())
        self.register_buffer("per_half_range", torch.from_numpy(per_half_range).float())

    def forward(self, observation: Tensor) -> Tensor:
        """Return commands [m] or [B, m] in actuator units for raw float32 observations [n] or [B, n]."""
        return self._command(self._offset(observation))

    @torch.jit.export
    def act(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return commands, and as bool [] or [B] whether each observation was usable. If not, it gets the fallback."""
        offset = self._offset(observation)
        total = offset.sum(-1)
        usable = total == total  # false for NaN alone
        return self._command(offset), usable

    def step(self, observation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return commands [B, m] and the next state [B, m] of a policy with a rate limit. TorchScript does not need it.

        Args:
            observation: [B, n] raw float32 observations.
            state: [B, m] the last commands minus the command at rest; zeros at the start of an episode. A state beyond
                the bounds is limited to them, and NaN becomes 0, so that no command leaves its bounds.
        """
        last = state.nan_to_num(0.0).clamp(self.lowest_move, self.highest_move)
        move = self._next_move(self._offset_after(observation, last).nan_to_num(0.0), last)
        return (self.rest + move).clamp(self.low, self.high), move

    @torch.jit.export
    def reset(self) -> None:
        """Start a new episode from the command at rest. Controllers must call it, also for policies without state."""
        if self.is_filtered:
            self.last_move = torch.zeros_like(self.rest)
            self.started = False

    @torch.jit.export
    def metadata(self) -> str:
        """Return the contents of policy.json."""
        return self.metadata_json

    def _offset(self, observation: Tensor) -> Tensor:
        """Return commands minus the fallback command. A row with a non-finite entry becomes NaN in all entries."""
        width = observation.size(-1) if observation.dim() > 0 else 0
        if width != self.observation_size:
            raise ValueError(
                f"the observation has width {width}; this policy expects {self.observation_size}"
            )
        if observation.dim() > 2 or observation.dtype != torch.float32:
            raise ValueError("this policy expects float32 observations of shape [n] or [B, n]")
        if self.started and self.last_move.size()[:-1] != observation.size()[:-1]:
            raise ValueError(
                f"this policy remembers its last commands, and the last were {list(self.last_move.size())}; "
                f"call reset() before you give it observations of shape {list(observation.size())}"
            )
        return self._offset_after(observation, self.last_move)

    def _offset_after(self, observation: Tensor, last_move: Tensor) -> Tensor:
        """Return commands minus the fallback command, for observations of the right width and the last moves."""
        seen = observation
        if self.observes_last_command:
            seen = torch.cat((observation, self._last_command(observation, last_move)), -1)
        centred = (seen - self.mean).clamp_(self.lowest, self.highest)
        action = self.network(centred)
        if self.has_mean_bound:
            action = action.tanh_().mul_(self.mean_bound)
        action = action.clamp_(-1.0, 1.0) if self.clips else action.tanh_()
        return torch.addcmul(self.poison(observation), action, self.half_range)

    def _last_command(self, observation: Tensor, last_move: Tensor) -> Tensor:
        """Return the last commands as canonical actions: [m] for an observation [n], [B, m] for [B, n]."""
        canonical = (last_move - self.middle_move) * self.per_half_range
        return canonical.clamp(-1.0, 1.0).expand(observation.size()[:-1] + canonical.size()[-1:])

    def _command(self, offset: Tensor) -> Tensor:
        """Return commands for offsets from the fallback command. A row of NaN gives the fallback command."""
        offset = offset.nan_to_num_(0.0)
        if self.is_filtered:
            self.last_move = self._next_move(offset, self.last_move)
            self.started = True
            return (self.rest + self.last_move).clamp_(self.low, self.high)
        if not self.rests_at_zero:
            offset = offset.add_(self.fallback)
        return offset.clamp_(self.low, self.high)

    def _next_move(self, offset: Tensor, last: Tensor) -> Tensor:
        """Return the moves that follow the last ones, within low-pass and slew rates."""
        move = (offset + self.fallback_move).clamp_(self.lowest_move, self.highest_move)
        if self.smoothing < 1.0:
            move = last + self.smoothing * (move - last)
        return move.clamp(last - self.steps, last + self.steps).clamp_(self.lowest_move, self.highest_move)


def _network(policy: Policy, scale: Tensor, mean_bound: float) -> nn.Sequential:
    """Copy trunk and mean head. The first weights include the normaliser's scale, and the last ones 1 / mean_bound."""
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
    """Raise InputError if an intermediate value can overflow float32 for inputs within +-reach.

    The triangle inequality gives the bound of each value, in float64.
    """
    largest = reach.double()
    for layer in network:
        if isinstance(layer, Affine):
            largest = layer.weight.double().abs() @ largest + layer.bias.double().abs()
        elif isinstance(layer, nn.LayerNorm):
            # LayerNorm squares the distance from the mean. Its output is within gain * sqrt(width) of each bias.
            squares = (2.0 * largest).square().sum()
            gain, shift = layer.weight.double().abs(), layer.bias.double().abs()
            largest = gain * math.sqrt(largest.numel()) + shift
            largest = torch.maximum(largest, squares * 0.0 if squares < FLOAT32_MAX else squares)
        if not bool((largest < FLOAT32_MAX).all()):
            raise InputError(
                "the policy has weights that are not finite, or so large that float32 can overflow; "
                "training has diverged: export an earlier run"
            )
