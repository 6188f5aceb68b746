"""Whether the memory of a run grows: resident memory at ten points of a million environment steps.

    python benchmarks/memory.py [--steps 1000000]

It trains a tiny learner with a small replay on Pendulum, as `acer-train` does, with rows, evaluations and checkpoints,
in a process of its own. Each number is the median over a tenth of the run. The drift is that of the last tenth against
the second one: the first fills the replay. The exit status is 1 if it is above 2 %.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = [
    "task=gym", "task.id=Pendulum-v1", "num_envs=64", "eval_every=50000", "eval_episodes=2", "log_every=5000",
    "video=false", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[16,16]", "learner.advantage_hidden=8",
    "learner.learning_starts=1000", "learner.segments=8", "learner.replay_ratio=0.5", "learner.replay_size=20000",
    "learner.compile=false", "checkpoint.every_minutes=0.1", "checkpoint.keep=1",
]  # fmt: skip
LIMIT = 2.0
"""Per cent by which memory may grow."""


def main() -> int:
    """Train, sample the memory of the process, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    steps = parser.parse_args().steps
    tenths: list[list[float]] = [[] for _ in range(10)]
    with tempfile.TemporaryDirectory(prefix="acer-memory-") as folder:
        run_dir, log = Path(folder) / "run", Path(folder) / "log"
        command = [
            sys.executable,
            "-m",
            "acer_robot.commands.train",
            f"run_dir={run_dir}",
            f"steps={steps}",
            *OPTIONS,
        ]
        with log.open("w") as output:
            child = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            while child.poll() is None:
                if step := last_step(run_dir / "metrics.csv"):
                    tenths[min(9, 10 * step // steps)].append(resident(child.pid))
                time.sleep(0.1)
        if child.returncode != 0 or not all(tenths):
            print(log.read_text()[-500:])
            return 1
    points = [statistics.median(tenth) for tenth in tenths]
    print("| share of the run | " + " | ".join(f"{10 * (i + 1)} %" for i in range(10)) + " |")
    print("|---|" + "---|" * 10)
    print("| memory, MiB | " + " | ".join(f"{point:.1f}" for point in points) + " |")
    drift = 100.0 * (points[-1] / points[1] - 1.0)
    print(f"drift {drift:+.2f} % over {steps:,} environment steps; at most {LIMIT:g} % is good")
    return 0 if drift <= LIMIT else 1


def last_step(table: Path) -> int:
    """Return the step of the last whole row of a table, 0 where there is none."""
    try:
        with table.open("rb") as file:
            file.seek(max(0, table.stat().st_size - 4096))
            found = re.findall(rb"\n(\d+),[^\n]*(?=\n)", file.read())
    except OSError:
        return 0
    return int(found[-1]) if found else 0


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
