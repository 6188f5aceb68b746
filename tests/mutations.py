"""Break the code once for each trap and see the test that guards it fail: `python tests/mutations.py [trap]`.

Each row of `mutation_table.py` is one edit that falls into a trap. It is made in a temporary copy of the
package, laid out as the wheel is, and pytest must then fail on the test named beside it, which passes before.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis  # noqa: F401  (imported here, with torch, so that a forked test run need not)
import pytest
import torch  # noqa: F401
from mutation_table import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent


def lay_out(copy: Path) -> None:
    """Copy package and tests to `copy` as the wheel has them, so that they shadow the installed package."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "acer_robot", copy / "acer_robot", ignore=ignore)
    for name in ("tasks", "policies", "configs"):
        shutil.copytree(ROOT / name, copy / "acer_robot" / name, ignore=ignore)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", copy)


def run_test(copy: Path, test: str) -> int:
    """Return pytest's exit status in a forked process: 0 passed, 1 failed, anything else a broken run."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        sys.dont_write_bytecode = True
        file, *selection = test.split()
        os._exit(pytest.main([f"tests/{file}", *selection, "-q", "-x", "-p", "no:cacheprovider"]))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def is_caught(copy: Path, file: str, old: str, new: str, test: str) -> bool:
    """Make the edit in the copy, run its test, undo the edit, and return whether the test failed."""
    path = copy / file
    text = path.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file} holds the text to change {text.count(old)} times, not once: {old!r}")
    path.write_text(text.replace(old, new))
    try:
        return run_test(copy, test) == 1
    finally:
        path.write_text(text)


def main() -> None:
    """Print one line per mutation; exit status 1 if a test is red without one or stays green with one."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    rows = [(file, *row) for file, table in MUTATIONS.items() for row in table if wanted in row[0]]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        lay_out(copy)
        for test in sorted({row[-1] for row in rows}):
            if run_test(copy, test) != 0:
                raise SystemExit(f"{test} does not pass before any mutation")
        for file, trap, old, new, test in sorted(rows, key=lambda row: row[1]):
            caught = is_caught(copy, file, old, new, test)
            survivors += not caught
            print(f"{'red  ' if caught else 'GREEN'}  {trap:<50}  {test}", flush=True)
    print(f"{len(rows) - survivors} of {len(rows)} mutations were caught")
    raise SystemExit(survivors > 0)


if __name__ == "__main__":
    main()
