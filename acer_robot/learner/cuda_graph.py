"""A function of CUDA tensors recorded as one CUDA graph: hundreds of small kernels launched by a single call."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor

from acer_robot.learner.batch import Trajectory

Result = TypeVar("Result")

_WARM_UPS = 3
"""Calls before recording, in which cuBLAS takes its workspace and autograd starts its thread, as PyTorch asks for."""


@dataclasses.dataclass(frozen=True)
class _Recording(Generic[Result]):
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    result: Result


class Recorded(Generic[Result]):
    """`function` of a batch and its noise, recorded at the first call with tensors of such shapes.

    The result's tensors are the same at every call, and the next call overwrites them. `function` must write nothing,
    and all that it reads beside its arguments must stay where it is in memory.
    """

    def __init__(self, function: Callable[[Trajectory, Tensor], Result]) -> None:
        self._function = function
        self._recordings: dict[tuple[torch.Size, torch.Size], _Recording[Result]] = {}

    def __call__(self, batch: Trajectory, noise: Tensor) -> Result:
        """Return what `function` returns, without ever waiting for the device."""
        shapes = (batch.observations.shape, noise.shape)
        if shapes not in self._recordings:
            self._recordings[shapes] = self._record(batch, noise)
        recording = self._recordings[shapes]
        for kept, given in zip(recording.inputs, _tensors(batch, noise), strict=True):
            kept.copy_(given)
        recording.graph.replay()
        return recording.result

    def _record(self, batch: Trajectory, noise: Tensor) -> _Recording[Result]:
        inputs = [tensor.clone() for tensor in _tensors(batch, noise)]
        arguments = Trajectory(*inputs[:-1]), inputs[-1]
        aside = torch.cuda.Stream(noise.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(noise.device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._function(*arguments)
        torch.cuda.current_stream(noise.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with collector_paused(), torch.cuda.device(noise.device), torch.cuda.graph(graph):
            result = self._function(*arguments)
        return _Recording(graph, inputs, result)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from collecting garbage meanwhile.

    A learner and its recording refer to each other, so that a dropped one is left to the collector; were it collected
    during another recording, CUDA would refuse to destroy its graph and break that recording off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _tensors(batch: Trajectory, noise: Tensor) -> list[Tensor]:
    return [*(getattr(batch, field.name) for field in dataclasses.fields(batch)), noise]
