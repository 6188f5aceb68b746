"""scripts/setup.sh ends at once where nothing changed, and only then."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def interpreter(path, version):
    """Write a program that answers every call with a version of Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def run_setup(tmp_path):
    """scripts/setup.sh in a checkout whose .venv has Python 3.11.7, ready for developers."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    interpreter(tmp_path / ".venv/bin/python", "3.11.7")
    state = "{ pwd; cat pyproject.toml constraints.txt scripts/setup.sh; } | sha256sum > .venv/.ready-dev"
    subprocess.run(["bash", "-c", state], cwd=tmp_path, check=True)

    def run_setup(python, extra):
        command = ["env", f"PYTHON={python}", "bash", "scripts/setup.sh", extra]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run_setup


@pytest.mark.parametrize(("version", "status"), [("3.11.7", 0), ("3.12.1", 1)])
def test_another_python_than_that_of_venv_is_refused(run_setup, tmp_path, version, status):
    python = interpreter(tmp_path / "other/python", version)
    done = run_setup(python, "test")
    assert done.returncode == status
    words = f".venv has Python 3.11.7, and PYTHON={python} is 3.12.1; remove it first: rm -r .venv"
    assert (words in done.stderr) is (status == 1)


@pytest.mark.parametrize(("extra", "is_ready"), [("test", True), ("dev", True), ("extras", False)])
def test_a_ready_dev_counts_for_tests_and_not_for_extras(run_setup, extra, is_ready):
    done = run_setup("/no/python", extra)
    assert (done.returncode == 0) is is_ready
    assert ("needs Python" in done.stderr) is not is_ready
