"""Judges one incident of the drill by the log that it left. It knows nothing of who wrote the log."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from incidents.drill_incidents import Incident

from acer_robot.deployment.drive_log import why_stopped
from acer_robot.deployment.limits import Limits

ROUNDING = 1e-6
"""Commands are float32 numbers of a size of 1."""


@dataclass
class Verdict:
    """What the log says, and what is wrong with it."""

    largest_step: float = 0.0
    """Largest change of a command in one tick, in the command's units."""
    outside: float = 0.0
    """Seconds with a command outside its bounds, or with a step beyond the limit of its tick."""
    to_stop: float | None = None
    """Seconds from the cause to `stopped`; None: it did not stop."""
    told: str = ""
    """What the first line of the log says."""
    wrong: list[str] = field(default_factory=list)


def judge(incident: Incident, limits: Limits, log: Path, status: int) -> Verdict:
    """Return the verdict on a drive."""
    verdict = Verdict(told=why_stopped(log))
    if status != incident.status:
        verdict.wrong.append(f"exit status {status}, not {incident.status}")
    rows = _rows(log)
    killed = incident.cause == "killed"
    told = "(still running)" if killed else incident.cause
    if verdict.told.partition(":")[0] != told:
        verdict.wrong.append(f"the log tells {verdict.told!r}, not {told!r}")
    _check_commands(rows, limits, verdict)
    full = any(event.kind == "disk" for event in incident.events)
    if not killed and not full:
        _check_end(rows, limits, incident, verdict)
    return verdict


def _rows(log: Path) -> list[dict[str, str]]:
    """Return the whole rows of a log. The last one may be cut."""
    with log.open(encoding="utf-8") as file:
        file.readline()
        rows = list(csv.DictReader(file))
    return rows[:-1] if rows and None in rows[-1].values() else rows


def _command(row: dict[str, str]) -> np.ndarray | None:
    values = [value for name, value in row.items() if name.startswith("command:")]
    return None if "" in values else np.array(values, np.float64)


def _check_commands(rows: list[dict[str, str]], limits: Limits, verdict: Verdict) -> None:
    """Check bounds and steps, tick by tick."""
    before, ramped = limits.rest, 0
    for row in rows:
        command = _command(row)
        if command is None:
            if row["state"] not in ("idle", "stopped"):
                verdict.wrong.append(f"no command in {row['state']}")
            continue
        step = np.abs(command - before)
        allowed = _allowed(row["state"], ramped, limits)
        if not ((command >= limits.low) & (command <= limits.high) & (step <= allowed + ROUNDING)).all():
            verdict.outside += limits.dt
        verdict.largest_step = max(verdict.largest_step, float(step.max()))
        ramped += row["state"] in ("ramp_in", "running") and ramped < limits.ramp_ticks
        before = command
    if verdict.outside:
        verdict.wrong.append(f"outside the limits for {verdict.outside:g} s")


def _allowed(state: str, ramped: int, limits: Limits) -> np.ndarray:
    """Return the largest step of each joint in a tick."""
    if state == "holding":
        return np.zeros_like(limits.range)
    if state in ("ramp_out", "stopped"):
        return limits.ramp_step
    opening = limits.range * ramped / limits.ramp_ticks if ramped < limits.ramp_ticks else limits.range
    return np.where(np.isfinite(limits.slew_step), limits.slew_step, np.maximum(limits.ramp_step, opening))


def _check_end(rows: list[dict[str, str]], limits: Limits, incident: Incident, verdict: Verdict) -> None:
    """Check that the drive stopped within the time of its ramp, and that the last row says why."""
    if not rows or (rows[-1]["state"], rows[-1]["cause"]) != ("stopped", incident.cause):
        verdict.wrong.append(f"the last row says {rows[-1]['state'] if rows else 'nothing'}")
        return
    first = next(i for i, row in enumerate(rows) if row["cause"] != "none")
    stopped = next(i for i, row in enumerate(rows) if row["state"] == "stopped")
    ticks = stopped - first + 1
    verdict.to_stop = ticks * limits.dt
    before = _command(rows[first - 1]) if first > 0 else None
    start = limits.rest if before is None else before
    within = math.ceil(float((np.abs(start - limits.rest) / limits.ramp_step).max()) - ROUNDING) + 1
    if ticks > within:
        verdict.wrong.append(f"it took {ticks} ticks to stop, not {within}")
    last = _command(rows[-1])
    if (
        incident.cause not in ("emergency", "second_stop")
        and last is not None
        and (last != limits.rest).any()
    ):
        verdict.wrong.append(f"it stopped at {last.tolist()}, not at rest")
