"""How much memory there is, so that a size that cannot be had is refused before it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

from acer_robot.errors import InputError


def free_memory() -> int | None:
    """Return the bytes of main memory that are free, or None where the platform does not tell."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def used_memory() -> int | None:
    """Return the bytes of main memory that this process uses, or None where the platform does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None


def check_memory(what: str, needed: float, free: int | None, remedy: str) -> None:
    """Raise InputError if `needed` bytes exceed the `free` ones; `what` names options and values.

    Nothing is refused where the platform does not tell how much is free.
    """
    if free is not None and needed > free:
        raise InputError(
            f"{what} would take {needed / 2**30:,.1f} GiB of memory, but only {free / 2**30:,.1f} GiB are free; "
            f"{remedy}"
        )
