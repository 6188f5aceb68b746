"""torch.compile for the learner's update: one graph of forward and backward pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TypeVar

import torch

from acer_robot.errors import InputError

Function = TypeVar("Function", bound=Callable[..., object])


def check_compiler(device: torch.device) -> None:
    """Raise InputError where `compiled` could not work on `device`."""
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    if not hasattr(dynamo, "trace_autograd_ops"):
        raise InputError(
            f"learner.compile=true needs a PyTorch whose compiler traces torch.autograd.grad, as 2.13 does; "
            f"{torch.__version__} does not: upgrade torch or set learner.compile=false"
        )
    if device.type == "cpu" and not any(name and shutil.which(name) for name in inductor.cpp.cxx):
        raise InputError(
            "learner.compile=true needs a C++ compiler, and neither g++ nor the one that CXX names was found; "
            "install one or set learner.compile=false"
        )


def compiled(function: Function) -> Function:
    """Return `function` compiled as one graph, gradients taken inside it included; the first call takes the time.

    Compiled in two halves, as torch.compile does by itself, forward and backward pass take about one and a half times
    as long: what one saves for the other cannot be fused.
    """
    from torch._dynamo import config as dynamo

    dynamo.trace_autograd_ops = True
    return torch.compile(function, fullgraph=True, dynamic=False)  # type: ignore[return-value]
