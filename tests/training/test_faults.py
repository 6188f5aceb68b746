"""Some incidents of `make faults`: killed, starved, damaged and lied to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.skipif(sys.platform != "linux", reason="it forks, mounts and reads /proc as on Linux")
def test_ten_incidents_lose_nothing():
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--short"], capture_output=True, text=True, timeout=900, check=False
    )
    assert "FAILED" not in ended.stdout, ended.stdout
    assert ended.returncode == 0, ended.stdout + ended.stderr
    passed, _, total, *_ = ended.stdout.splitlines()[-1].split()
    assert passed == total
    assert int(total) >= 10
