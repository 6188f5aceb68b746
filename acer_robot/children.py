"""Python code for child processes that end with this one, even where this one is killed."""

from __future__ import annotations

import os

_RUN_SCRIPT = """
import runpy
import sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def ending_with_parent(code: str = _RUN_SCRIPT) -> str:
    """Return `code` for `python -c`, behind lines that let Linux kill the child when this process ends.

    Without `code`, the child runs the script that its first argument names. Elsewhere than on Linux nothing is added.
    """
    return f"""
import ctypes
import os
import signal
import sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != {os.getpid()}:
        sys.exit("the parent process ended")
{code}"""
