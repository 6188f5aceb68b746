"""Child processes end with their parent, even where the parent is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from acer_robot.children import ending_with_parent

PARENT = """
import subprocess, sys
from acer_robot.children import ending_with_parent
child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-c", ending_with_parent(child)])
"""


def is_running(number):
    """Whether the process exists and is no zombie, which only waits for somebody to ask for its status."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_parent_takes_its_child_along():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_script_gets_its_own_arguments(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nif __name__ == '__main__': print(sys.argv, __file__)")
    command = [sys.executable, "-I", "-c", ending_with_parent(), str(script), "one"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{[str(script), 'one']} {script}\n"
