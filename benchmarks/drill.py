"""The drill: 200 scripted incidents in MuJoCo through the safety layer, in Python and, where it is built, in C++.

    python benchmarks/drill.py [--every N] [--jobs 2]

Incidents run in `--jobs` processes at once. Their clock is simulated, so that a busy machine changes no verdict.
For each incident it prints the largest command step, the time outside the limits (it must be 0), the time to stop, and
what the log tells. Its last line is `N of 200 incidents passed`. The exit status is 1 unless all passed.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from driving.fresh_policy import export_halfcheetah
from incidents import drill_cpp, drill_python
from incidents.drill_check import Verdict, judge
from incidents.drill_incidents import Incident, incidents

from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.limits import limits_of_file
from acer_robot.policies.exported.file import LoadedPolicy, load_exported

ROBOTS: dict[str, dict[str, Any]] = {"free": {}, "limited": {"slew_rate": 4.0}}
"""Robot -> options of HalfCheetah-v5."""


class Drill:
    """The files and folders of a drill."""

    def __init__(self, folder: Path, with_cpp: bool) -> None:
        torch.set_num_threads(1)
        self._folder, self._with_cpp = folder, with_cpp
        self._files = {robot: export_halfcheetah(folder, options, robot) for robot, options in ROBOTS.items()}
        self._policies: dict[str, LoadedPolicy] = {
            robot: load_exported(file) for robot, file in self._files.items()
        }

    def run(self, incident: Incident) -> dict[str, Verdict]:
        """Run an incident through every implementation; return their verdicts."""
        policy = self._policies[incident.robot]
        options = dataclasses.replace(
            Options(),
            **{name: type(getattr(Options(), name))(value) for name, value in incident.safety.items()},
        )
        limits = limits_of_file(policy.spec, policy.metadata, options)
        logs = {"Python": self._folder / "python.csv", "C++": self._folder / "cpp.csv"}
        for log in logs.values():
            log.unlink(missing_ok=True)  # of the incident before
        controller = None
        if self._with_cpp:
            controller = drill_cpp.start(self._files[incident.robot], incident, logs["C++"])
        statuses = {"Python": drill_python.run(policy, limits, incident, logs["Python"])}
        if controller is not None:
            statuses["C++"] = drill_cpp.finish(controller)
        return {name: judge(incident, limits, logs[name], status) for name, status in statuses.items()}


def line(incident: Incident, implementation: str, verdict: Verdict) -> str:
    """Return one line of the drill's table."""
    to_stop = "-" if verdict.to_stop is None else f"{verdict.to_stop:.2f} s"
    result = "passed" if not verdict.wrong else "FAILED: " + "; ".join(verdict.wrong)
    return (
        f"{incident.name:45} {implementation:7} step {verdict.largest_step:6.4f}  outside {verdict.outside:4.2f} s  "
        f"to stop {to_stop:>7}  log: {verdict.told[:24]:24} {result}"
    )


_drills: list[Drill] = []
"""The drill of this process, where it is a worker."""


def _prepare(folder: str, with_cpp: bool) -> None:
    """Make the drill of a worker, with files and logs of its own."""
    _drills[:] = [Drill(Path(tempfile.mkdtemp(dir=folder)), with_cpp)]


def _run(incident: Incident) -> dict[str, Verdict]:
    return _drills[0].run(incident)


def verdicts(
    chosen: Sequence[Incident], with_cpp: bool, jobs: int
) -> Iterator[tuple[Incident, dict[str, Verdict]]]:
    """Run incidents in `jobs` processes; yield each with its verdicts, in the order of the incidents."""
    with tempfile.TemporaryDirectory() as folder:
        start = {"initializer": _prepare, "initargs": (folder, with_cpp)}
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), **start) as workers:
            yield from zip(chosen, workers.map(_run, chosen), strict=True)


def main() -> None:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="run every Nth incident only")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at once")
    options = parser.parse_args()
    chosen = incidents()[:: options.every]
    with_cpp = drill_cpp.is_built()
    if not with_cpp:
        print(
            "C++ is not run: build/controller/controller is not built, or too old; `make controller` builds it"
        )
    passed, built = 0, drill_cpp.build_times() if with_cpp else []
    for incident, found in verdicts(chosen, with_cpp, options.jobs):
        for implementation, verdict in found.items():
            print(line(incident, implementation, verdict), flush=True)
        passed += not any(verdict.wrong for verdict in found.values())
    if with_cpp and drill_cpp.build_times() != built:
        sys.exit("the controller was rebuilt during the drill, so its verdicts say nothing; run it again")
    print(f"{passed} of {len(chosen)} incidents passed")
    sys.exit(passed != len(chosen))


if __name__ == "__main__":
    main()
