"""Runs one incident of the drill in the C++ controller, which reads incidents from a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import gymnasium
from drill_incidents import STEPS, Incident
from drill_python import obey_signals

CONTROLLER = Path(__file__).parent.parent / "build" / "controller" / "controller"
MODEL = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"


def is_built() -> bool:
    """Whether the controller was built and knows incidents."""
    if not CONTROLLER.is_file():
        return False
    usage = subprocess.run([CONTROLLER, "--help"], capture_output=True, text=True, check=False).stdout
    return "--incident" in usage


def run(policy: Path, incident: Incident, log: Path) -> int:
    """Run an incident; return the exit status; negative: the signal that ended the process."""
    script = log.with_suffix(".txt")
    script.write_text("".join(f"{e.kind} {e.first} {e.last} {float(e.number):g}\n" for e in incident.events))
    safety = [part for name, value in incident.safety.items() for part in ("--safety", f"{name}={value:g}")]
    options = ["--ramp", *safety, "--steps", STEPS, "--log", log, "--incident", script]
    command = [str(part) for part in (CONTROLLER, policy, MODEL, *options)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, preexec_fn=obey_signals)
    return done.returncode
