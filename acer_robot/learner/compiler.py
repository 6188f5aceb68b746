"""The learner's update as one graph of forward and backward pass: by torch.compile, or on CUDA as a CUDA graph."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from acer_robot.errors import InputError, first_line
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.compile_cache import clear_broken, clear_headers
from acer_robot.learner.cuda_graph import Recorded

Result = TypeVar("Result")


WORTH_COMPILING = 20_000
"""Updates from which a run compiles by itself: half a minute of compiling is won back several times over."""


def choose_compiling(wanted: bool | None, updates: float, device: torch.device, threads: int) -> bool:
    """Return whether to compile, where `learner.compile` is `wanted` and about `updates` updates are to come.

    null means: always on CUDA, where it needs nothing and takes a second; else in a long run on one thread, if a
    compiler works there. Where such a run must do without, a line says why. On several threads it stays a choice: a
    second busy process on the same cores was seen to slow such a run to a crawl.

    Raises:
        InputError: if compiling is wanted and `compiled` could not work on `device`.
    """
    if device.type == "cuda":
        return wanted is not False
    worth_it = updates >= WORTH_COMPILING and threads == 1
    if wanted is False or (wanted is None and not worth_it):
        return False
    reason = obstacle()
    if reason is None:
        return True
    if wanted:
        raise InputError(f"learner.compile=true needs {reason} or set learner.compile=false")
    print(
        f"the learner's update is not compiled and takes about twice as long; compiling needs {reason}",
        flush=True,
    )
    return False


def obstacle() -> str | None:
    """Return what torch.compile needs on the CPU and does not find, with what to do about it; None if nothing."""
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    if not hasattr(dynamo, "trace_autograd_ops"):
        return (
            f"a PyTorch whose compiler traces torch.autograd.grad, as 2.13 does; {torch.__version__} does not: "
            "upgrade torch"
        )
    if not any(name and shutil.which(name) for name in inductor.cpp.cxx):
        return "a C++ compiler, and neither g++ nor the one that CXX names was found; install one"
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        return f"Python's headers, and there is no Python.h in {headers}; install python3-dev"
    return None


def compiled(
    function: Callable[[Trajectory, Tensor], Result], device: torch.device
) -> Callable[[Trajectory, Tensor], Result]:
    """Return `function`, which writes nothing, as one graph with the gradients taken inside it.

    The first call takes the time. torch.compile by itself compiles forward and backward pass apart. That takes about
    one and a half times as long a call, since it cannot fuse across the two.
    """
    if device.type == "cuda":
        return Recorded(function)
    from torch._dynamo import config as dynamo

    dynamo.trace_autograd_ops = True
    return _FirstCall(torch.compile(function, fullgraph=True, dynamic=False))


class _FirstCall:
    """A compiled function whose first call, which compiles, survives a cache that a killed process left broken."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._is_first = function, True

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 (of the function)
        if self._is_first:
            self._is_first = False
            return self._compile(arguments)
        return self._function(*arguments)

    def _compile(self, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        from torch._inductor.exc import CppCompileError

        clear_broken()
        try:
            return self._function(*arguments)
        except (ImportError, OSError, CppCompileError) as error:
            print(
                f"torch.compile failed ({first_line(error)[:200]}); it tries again without its headers",
                flush=True,
            )
        clear_broken()
        clear_headers()
        torch._dynamo.reset()
        return self._function(*arguments)
