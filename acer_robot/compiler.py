"""torch.compile for the learner's update: one graph of forward and backward pass."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from acer_robot.errors import InputError

Function = TypeVar("Function", bound=Callable[..., object])


WORTH_COMPILING = 20_000
"""Updates from which a run compiles by itself: half a minute of compiling is won back several times over."""


def choose_compiling(wanted: bool | None, updates: float, device: torch.device, threads: int) -> bool:
    """Return whether to compile, where `learner.compile` is `wanted` and about `updates` updates are to come.

    null means: in a long run on one thread of a CPU, if a compiler works there. Where such a run must do without, a
    line says why. On several threads it stays a choice: a second busy process on the same cores was seen to slow such
    a run to a crawl.

    Raises:
        InputError: if compiling is wanted and `compiled` could not work on `device`.
    """
    worth_it = updates >= WORTH_COMPILING and device.type == "cpu" and threads == 1
    if wanted is False or (wanted is None and not worth_it):
        return False
    reason = obstacle(device)
    if reason is None:
        return True
    if wanted:
        raise InputError(f"learner.compile=true needs {reason} or set learner.compile=false")
    print(
        f"the learner's update is not compiled and takes about twice as long; compiling needs {reason}",
        flush=True,
    )
    return False


def obstacle(device: torch.device) -> str | None:
    """Return what `compiled` needs on `device` and does not find, with what to do about it; None if nothing."""
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    if not hasattr(dynamo, "trace_autograd_ops"):
        return (
            f"a PyTorch whose compiler traces torch.autograd.grad, as 2.13 does; {torch.__version__} does not: "
            "upgrade torch"
        )
    if device.type != "cpu":
        return None
    if not any(name and shutil.which(name) for name in inductor.cpp.cxx):
        return "a C++ compiler, and neither g++ nor the one that CXX names was found; install one"
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        return f"Python's headers, and there is no Python.h in {headers}; install python3-dev"
    return None


def compiled(function: Function) -> Function:
    """Return `function` compiled as one graph, gradients taken inside it included; the first call takes the time.

    Compiled in two halves, as torch.compile does by itself, forward and backward pass take about one and a half times
    as long: what one saves for the other cannot be fused.
    """
    from torch._dynamo import config as dynamo

    dynamo.trace_autograd_ops = True
    return torch.compile(function, fullgraph=True, dynamic=False)  # type: ignore[return-value]
