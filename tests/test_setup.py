"""scripts/setup.sh ends at once where nothing changed, and only then."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("extra", "is_ready"), [("test", True), ("dev", True), ("extras", False)])
def test_a_ready_dev_counts_for_tests_and_not_for_extras(tmp_path, extra, is_ready):
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    state = "{ pwd; cat pyproject.toml constraints.txt scripts/setup.sh; } | sha256sum > .venv/.ready-dev"
    subprocess.run(["bash", "-c", state], cwd=tmp_path, check=True)
    command = ["env", "PYTHON=/no/python", "bash", "scripts/setup.sh", extra]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is is_ready
    assert ("needs Python" in done.stderr) is not is_ready
