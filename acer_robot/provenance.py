"""Which software and machine this is: for environment.txt, the doctor and the report."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "acer-robot", "torch", "numpy", "mujoco", "dm-control", "gymnasium", "hydra-core", "omegaconf", "pyyaml", "wandb",
    "matplotlib", "jinja2", "imageio", "imageio-ffmpeg", "pillow", "tqdm",
)  # fmt: skip
"""Distributions whose versions decide what a run computes or leaves behind."""


def package_versions() -> dict[str, str]:
    """Return the installed version of every package in PACKAGES; "not installed" where there is none."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def cpu_model() -> str:
    """Return the processor's name as Linux gives it, else what the platform module knows."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_revision() -> str | None:
    """Return the commit of the checkout that acer_robot runs from, plus "+changes" if it has any, else None.

    An installed wheel may lie inside *another* project's checkout (its .venv); that project's commit says
    nothing about this code, so git must know this very file.
    """
    here = Path(__file__).resolve()
    if _git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git(here, "rev-parse", "HEAD")
    changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changes else commit


def _git(file: Path, *arguments: str) -> str | None:
    """Return what git prints in the file's folder, or None where git is missing or refuses."""
    command = ["git", "-C", str(file.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True)
class Software:
    """The code that did something: a run's training, or an export."""

    revision: str | None
    """Commit of the checkout, as `git_revision` gives it; None: not a checkout, or not known."""
    versions: dict[str, str] | None
    """Version of every package in PACKAGES; None: not known."""


UNKNOWN = Software(None, None)


def this_software() -> Software:
    """Return what runs now. A run asks once, at its start: a checkout may change while it trains."""
    return Software(git_revision(), package_versions())


def describe_environment(software: Software | None = None) -> dict[str, str]:
    """Return versions, processor and git revision as ordered (name, value) pairs, of `software` if it is given."""
    software = software or this_software()
    return {
        "python": platform.python_version(),
        **(software.versions or {}),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "git revision": software.revision or "not a git checkout",
    }
