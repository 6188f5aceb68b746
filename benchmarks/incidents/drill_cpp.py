"""Runs one incident of the drill in the C++ controller, which reads incidents from a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import gymnasium
from incidents.drill_incidents import STEPS, Incident
from incidents.drill_python import obey_signals

CONTROLLER = Path(__file__).parents[2] / "build" / "controller" / "controller"
MODEL = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"


def is_built() -> bool:
    """Whether the controller was built and knows incidents."""
    if not CONTROLLER.is_file():
        return False
    usage = subprocess.run([CONTROLLER, "--help"], capture_output=True, text=True, check=False).stdout
    return "--incident" in usage


def build_times() -> list[int]:
    """Return when the program and its library were built. They must stay the same during a drill."""
    files = [CONTROLLER, *CONTROLLER.parent.glob("libacer_controller.so*")]
    return [file.stat().st_mtime_ns for file in files]


def start(policy: Path, incident: Incident, log: Path) -> subprocess.Popen[bytes]:
    """Start the controller with an incident."""
    script = log.with_suffix(".txt")
    script.write_text("".join(f"{e.kind} {e.first} {e.last} {float(e.number):g}\n" for e in incident.events))
    safety = [part for name, value in incident.safety.items() for part in ("--safety", f"{name}={value:g}")]
    options = ["--ramp", *safety, "--steps", STEPS, "--log", log, "--incident", script]
    command = [str(part) for part in (CONTROLLER, policy, MODEL, *options)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=obey_signals
    )


def finish(controller: subprocess.Popen[bytes]) -> int:
    """Wait for the controller; return the exit status; negative: the signal that ended the process."""
    try:
        return controller.wait(120)
    finally:
        controller.kill()
