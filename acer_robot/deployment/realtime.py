"""Real time on Linux: priority, locked memory, one core, and sleep until an absolute deadline."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from acer_robot.errors import InputError

MCL_CURRENT, MCL_FUTURE = 1, 2
CLOCK_MONOTONIC, TIMER_ABSTIME = 1, 1


@dataclass
class RealTimeOptions:
    """What a drive asks of the operating system. One line says what was not permitted, and the drive goes on."""

    priority: int = 0
    """Priority of SCHED_FIFO, from 1 to 99; 0: the usual scheduler. It needs CAP_SYS_NICE or an rtprio limit."""
    lock_memory: bool = False
    """Whether memory stays in RAM (mlockall). It needs CAP_IPC_LOCK or a memlock limit."""
    core: int | None = None
    """The core on which the loop stays; null: any core."""


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_libc = ctypes.CDLL(None, use_errno=True)


def check_realtime(options: RealTimeOptions) -> None:
    """Raise InputError for a priority or a core that no machine, or not this one, has."""
    if not 0 <= options.priority <= 99:
        raise InputError(
            f"realtime.priority={options.priority}; expected 1 to 99, or 0 for the usual scheduler"
        )
    if options.core is not None and options.core not in os.sched_getaffinity(0):
        cores = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise InputError(f"realtime.core={options.core}; this process may use the cores {cores}")


@contextmanager
def real_time(options: RealTimeOptions) -> Iterator[list[str]]:
    """Ask for what the options say within the block, and yield one line for each thing that was not permitted.

    Python's garbage collector is off within the block if any of it was asked for, because it stops the loop.
    """
    refused: list[str] = []
    wanted = bool(options.priority) or options.lock_memory or options.core is not None
    if not wanted:
        yield refused
        return
    affinity, scheduler, parameters = os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)
    collects = gc.isenabled()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if options.priority:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(options.priority))
        except OSError as error:
            refused.append(f"SCHED_FIFO with priority {options.priority} is not permitted: {error.strerror}")
    if options.lock_memory and _libc.mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        refused.append(f"memory cannot be locked: {os.strerror(ctypes.get_errno())}")
    gc.collect()
    gc.disable()
    try:
        yield refused
    finally:
        if options.lock_memory:
            _libc.munlockall()
        if options.priority:
            _restore(scheduler, parameters)
        os.sched_setaffinity(0, affinity)
        if collects:
            gc.enable()


def _restore(scheduler: int, parameters: os.sched_param) -> None:
    """Give the priority back."""
    os.sched_setscheduler(0, scheduler, parameters)


def sleep_until(deadline: float) -> None:
    """Sleep until `time.monotonic()` has reached a deadline. Signals do not end the sleep early."""
    seconds = int(deadline)
    request = _TimeSpec(seconds, int((deadline - seconds) * 1e9))
    while True:
        status = _libc.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, ctypes.byref(request), None)
        if status == errno.EINTR:
            continue  # Python has noted the signal, and its handler runs between two bytecodes
        if status != 0:
            time.sleep(max(0.0, deadline - time.monotonic()))
        return


def sleep(seconds: float) -> None:
    """Sleep for a time, with an absolute deadline."""
    sleep_until(time.monotonic() + seconds)
