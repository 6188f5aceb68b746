"""How the update's matrix products are computed on a CPU: by which library, and whether their inputs are rounded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

from acer_robot.errors import InputError

PRECISIONS = ("auto", "float32", "onednn", "bf16")
WORTH_CHANGING = 1.3
"""With "auto", oneDNN is taken where its product is so many times as fast."""
_SHAPE = (2, 128, 256)
"""Of the trial product: two critics, 128 states, 256 units."""


def choose_precision(wanted: str, device: torch.device) -> str:
    """Return "float32", "onednn" or "bf16", where `learner.precision` is `wanted`.

    PyTorch gives its products to MKL, which is slower than oneDNN on some processors of AMD. Where the processor has
    AMX, oneDNN can round the inputs to bfloat16 as well. "auto" never takes that.

    Raises:
        InputError: if oneDNN cannot do what is wanted on this device and processor.
    """
    if wanted == "float32":
        return wanted
    obstacle = _obstacle(device)
    if obstacle is None and wanted != "bf16" and _rounds():
        obstacle = "a processor on which oneDNN does not round to bfloat16, and here it does"
    elif obstacle is None and wanted == "bf16" and not _rounds():
        obstacle = "a processor on which oneDNN rounds to bfloat16 (AMX), and here it does not"
    if wanted != "auto":
        if obstacle is not None:
            raise InputError(f"learner.precision={wanted} needs {obstacle}; set learner.precision=float32")
        return wanted
    is_worth_it = obstacle is None and _seconds("float32") >= WORTH_CHANGING * _seconds("onednn")
    return "onednn" if is_worth_it else "float32"


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Give float32 matrix products on the CPU to oneDNN while this lasts, unless `precision` is "float32".

    Sums are float32 in any case, and so is all that is stored. Nothing outside is touched: a policy that acts, is
    evaluated or exported computes as it always does.
    """
    if precision == "float32":
        yield
        return
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"  # a permission to round, which oneDNN uses with AMX alone
    try:
        yield
    finally:
        settings.fp32_precision = before


def _obstacle(device: torch.device) -> str | None:
    """Return what oneDNN's products need and do not find; None if nothing."""
    if device.type != "cpu":
        return f"device=cpu, and the device is {device}"
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "a PyTorch with oneDNN"
    if not torch.cpu._is_avx512_supported():
        return "a processor with AVX512"
    return None


def _rounds() -> bool:
    """Return whether oneDNN rounds the inputs of a product to bfloat16, in which 1 + 2^-12 is 1."""
    critics, states, width = _SHAPE
    just_above_one = torch.full((critics, states, width), 1.0 + 2.0**-12)
    with products("onednn"):
        result = torch.bmm(just_above_one, torch.ones(critics, width, width))
    return bool((result == width).all())


def _seconds(precision: str) -> float:
    """Return the shortest time of a product at the update's size."""
    critics, states, width = _SHAPE
    a, b = torch.ones(critics, states, width), torch.ones(critics, width, width)
    shortest = float("inf")
    with products(precision):
        for _ in range(30):
            start = time.perf_counter()
            torch.bmm(a, b)
            shortest = min(shortest, time.perf_counter() - start)
    return shortest
