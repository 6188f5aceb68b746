"""The matrix products of one update: their shapes, whose they are, their operations, and their time alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timing.fresh_learner import fresh_learner
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from acer_robot.experience.replay import Replay
from acer_robot.learner.flat import FlatParameters
from acer_robot.learner.learner import Learner
from acer_robot.learner.precision import products
from acer_robot.schema import LearnerConfig

IN_INPUTS, IN_WEIGHTS, OTHER = "backward, gradients of inputs", "backward, gradients of weights", "other"
PARTS = (
    "actor", "average actor", "critics", "critics' advantage heads", "target critics",
    "target critics' advantage heads",
    "embedding, learnt", "embedding, the critics' copy", "embedding, the target critics' copy", IN_INPUTS, IN_WEIGHTS,
    OTHER,
)  # fmt: skip
"""Whose a product is: of a network forward, or of the backward pass."""

_KINDS: dict[str, Callable[..., Tensor]] = {
    "mm": torch.mm, "addmm": torch.addmm, "bmm": torch.bmm, "baddbmm": torch.baddbmm,
}  # fmt: skip
_UNKNOWN = ("mv", "addmv", "dot", "addbmm", "linear", "matmul")
"""Products that no update has so far; one of them would be missing in every count."""


@dataclass(frozen=True)
class Product:
    """One matrix product: its kind, and shape and stride of each tensor that it reads."""

    kind: str
    operands: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    part: str
    """One of PARTS."""

    @property
    def flop(self) -> int:
        """Floating-point operations: one multiplication and one addition for each element of the inner axis."""
        (*batch, rows, inner), columns = self.operands[-2][0], self.operands[-1][0][-1]
        return 2 * (batch[0] if batch else 1) * rows * inner * columns


def update_products(options: LearnerConfig, replay: Replay) -> list[Product]:
    """Return the products of an update in their order, seen uncompiled, which is the same mathematics."""
    batch = replay.sample(options.segments)
    learner = fresh_learner(dataclasses.replace(options, compile=False), batch.rewards.device)
    recorder = _Recorder(_weights(learner))
    with recorder:
        learner.update(batch)
    return recorder.products


def flop_by_part(found: Sequence[Product]) -> dict[str, int]:
    """Return the floating-point operations of each part that has any, in the order of PARTS."""
    sums = {part: sum(product.flop for product in found if product.part == part) for part in PARTS}
    return {part: flop for part, flop in sums.items() if flop}


def products_alone(found: Sequence[Product], precision: str, device: torch.device) -> Callable[[], None]:
    """Return a call that does these products one after the other, on random numbers and into memory that is there."""
    calls = [(_KINDS[product.kind], *_operands(product, device)) for product in found]

    def call() -> None:
        with products(precision), torch.no_grad():
            for kind, operands, result in calls:
                kind(*operands, out=result)

    return call


def _operands(product: Product, device: torch.device) -> tuple[list[Tensor], Tensor]:
    """Return random operands with the product's shapes and strides, and where the result goes."""
    operands = []
    for shape, stride in product.operands:
        length = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        operands.append(torch.randn(length, device=device).as_strided(shape, stride))
    return operands, torch.empty(*product.operands[-2][0][:-1], product.operands[-1][0][-1], device=device)


class _Recorder(TorchDispatchMode):
    """Notes every product while it lasts, in the backward pass too."""

    def __init__(self, weights: Mapping[int, Sequence[tuple[int, int, str]]]) -> None:
        super().__init__()
        self._weights = weights
        self.products: list[Product] = []

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = function.overloadpacket.__name__
        assert name not in _UNKNOWN, f"the update has a product of the unknown kind {name}"
        if name in _KINDS:
            tensors = [value for value in args if isinstance(value, Tensor)]
            operands = tuple((tuple(tensor.shape), tensor.stride()) for tensor in tensors)
            self.products.append(Product(name, operands, self._part(tensors)))
        return function(*args, **(kwargs or {}))

    def _part(self, tensors: Sequence[Tensor]) -> str:
        owners = [owner for tensor in tensors if (owner := self._owner(tensor)) is not None]
        if torch._C._current_graph_task_id() != -1:  # the backward pass runs
            return IN_INPUTS if owners else IN_WEIGHTS
        return owners[-1] if owners else OTHER

    def _owner(self, tensor: Tensor) -> str | None:
        """Return whose weights a tensor is a view of: weights lie side by side in one storage for each network."""
        for start, end, part in self._weights.get(tensor.untyped_storage().data_ptr(), ()):
            if start <= tensor.storage_offset() < end:
                return part
        return None


def _weights(learner: Learner) -> dict[int, list[tuple[int, int, str]]]:
    """Return where each parameter lies in its network's storage, and whose part it is."""
    networks: list[tuple[FlatParameters, nn.Module, str]] = [
        (learner.flat_actor, learner.actor, "actor"),
        (learner.flat_average, learner.average_actor, "average actor"),
        (learner.flat_critic, learner.critic, "critics"),
        (learner.flat_target, learner.target_critic, "target critics"),
    ]
    if (embeddings := learner.embeddings) is not None:
        networks += [
            (embeddings.flat_learnt, embeddings.learnt, "embedding, learnt"),
            (embeddings.flat_of_critic, embeddings.of_critic, "embedding, the critics' copy"),
            (embeddings.flat_of_target, embeddings.of_target, "embedding, the target critics' copy"),
        ]
    found: dict[int, list[tuple[int, int, str]]] = {}
    for flat, module, part in networks:
        found[flat.values.untyped_storage().data_ptr()] = [
            (
                parameter.storage_offset(),
                parameter.storage_offset() + parameter.numel(),
                f"{part}' advantage heads" if name.startswith("advantage_") else part,
            )
            for name, parameter in module.named_parameters()
        ]
    return found
