"""How well a drive keeps its deadlines at 50 Hz: in Python and C++, with and without real time, idle and under load."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from driving.fresh_policy import export_halfcheetah
from incidents import drill_cpp

DT = 0.02
TASK = {"kwargs": {"frame_skip": 2}}
"""Options of HalfCheetah-v5 for a control period of `DT`."""
CPP_JITTER = re.compile(r"^jitter: p50 ([\d.]+) us, p99 ([\d.]+) us, max ([\d.]+) us over (\d+)$", re.M)
CPP_LATE = re.compile(r"^late control periods: (\d+)$", re.M)
PRIORITY = 80
BUSY = """
import sys
assert sys.argv[1] == "acer-latency-load"
import numpy as np
block = np.ones(4_000_000)
while True:
    block += 1.0
    sum(range(100_000))
"""
"""A process of the load: it computes, and moves 32 MB through the caches, until it is ended."""


@dataclass
class Jitter:
    """What one drive did."""

    p50: float
    """Microseconds between a deadline and the tick after it."""
    p99: float
    max: float
    ticks: int
    missed: int
    """Deadlines that had passed when the loop came to wait for them."""
    refused: list[str] = field(default_factory=list)
    """What the operating system did not permit."""


def export(folder: Path) -> Path:
    """Write a policy with random weights for HalfCheetah-v5 at 50 Hz."""
    return export_halfcheetah(folder, TASK, "jitter")


def in_cpp(policy: Path, seconds: float, real_time: bool, core: int) -> Jitter:
    """Drive with the C++ controller."""
    asked = ["--priority", PRIORITY, "--lock-memory", "--core", core] if real_time else []
    command = [drill_cpp.CONTROLLER, policy, drill_cpp.MODEL, "--ramp", "--realtime", *asked]
    command += ["--steps", round(seconds / DT)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    found, late = CPP_JITTER.search(done.stdout), CPP_LATE.search(done.stdout)
    assert found is not None, done.stdout
    assert late is not None, done.stdout
    p50, p99, longest, ticks = found.groups()
    return Jitter(
        float(p50), float(p99), float(longest), int(ticks), int(late[1]), _refused(done.stderr, "controller")
    )


def in_python(policy: Path, seconds: float, real_time: bool, core: int) -> Jitter:
    """Drive with acer-deploy."""
    asked = [f"realtime.priority={PRIORITY}", "realtime.lock_memory=true", f"realtime.core={core}"]
    command = [sys.executable, "-m", "acer_robot.commands.deploy", f"policy={policy}", "ramp=true"]
    command += [f"max_steps={round(seconds / DT)}", *(asked if real_time else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    times = summary["jitter_us"]
    return Jitter(
        times["p50"],
        times["p99"],
        times["max"],
        summary["commands"],
        summary["deadline_misses"],
        _refused(done.stderr, "acer-deploy"),
    )


def _refused(text: str, program: str) -> list[str]:
    lines = (line.removeprefix(f"{program}: ") for line in text.splitlines())
    return [line for line in lines if "not permitted" in line or "cannot be locked" in line]


@contextmanager
def load() -> Iterator[str]:
    """Keep all cores busy within the block, with stress-ng or processes of our own; yield what runs."""
    cores = len(os.sched_getaffinity(0))
    if shutil.which("stress-ng"):
        command = f"stress-ng --quiet --cpu {cores} --vm {cores} --vm-bytes 64M --hdd 1 --hdd-bytes 64M"
        command += " --temp-path /tmp"
        started = [subprocess.Popen(command.split())]
    else:
        command = f"{2 * cores} processes acer-latency-load of jitter.py"
        started = [
            subprocess.Popen([sys.executable, "-c", BUSY, "acer-latency-load"]) for _ in range(2 * cores)
        ]
    try:
        yield command
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def measure(policy: Path, seconds: float, cores: set[int]) -> tuple[dict[str, Jitter], str]:
    """Drive in every combination; return the rows by name, and what the load was."""
    core, rows = max(cores), dict[str, Jitter]()
    drives = {"Python": in_python}
    if drill_cpp.is_built():
        drives["C++"] = in_cpp

    def drive_all(state: str) -> None:
        for language, drive in drives.items():
            for real_time in (False, True):
                how = f"SCHED_FIFO {PRIORITY}, locked memory, core {core}" if real_time else "as usual"
                rows[f"{language}, {state}, {how}"] = drive(policy, seconds, real_time, core)

    drive_all("nothing else")
    with load() as what:
        drive_all("load")
    return rows, what


def table(rows: dict[str, Jitter]) -> str:
    """Return a Markdown table."""
    lines = [
        "| drive | jitter p50, us | p99, us | max, us | missed deadlines | not permitted |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        refused = "; ".join(row.refused) or "-"
        lines.append(
            f"| {name} | {row.p50:.0f} | {row.p99:.0f} | {row.max:.0f} | {row.missed} of {row.ticks} | {refused} |"
        )
    return "\n".join(lines)
