"""The Ray cluster: one that is started on this machine and ends with the run, or one that is there."""

from __future__ import annotations

import logging
import os
import socket
import sys
from types import ModuleType

from acer_robot.errors import InputError, first_line
from acer_robot.schema import CollectorConfig

OBJECT_STORE_BYTES = 2**28
"""Shared memory of a Ray that is started here. It holds the segments that wait, and the newest weights."""


def ray_module() -> ModuleType:
    """Return the module `ray`.

    Raises:
        InputError: naming the extra, if it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "collector=ray needs Ray, which is not installed; install it with: pip install 'acer-robot[ray]'"
        ) from error
    return ray  # type: ignore[no-any-return]


def connect(options: CollectorConfig) -> ModuleType:
    """Connect this process to a cluster, or start one here; return the module `ray`.

    Nothing listens beyond the loopback where Ray is started here. A process that is connected already stays so.

    Raises:
        InputError: if Ray is not installed or does not start here, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    if options.address is None:
        # Else Ray gives its workers a niceness of 15, and the learner waits for them on a busy machine.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Ray reads this once, when it is imported. It then binds all of its servers to 127.0.0.1.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = ray_module()
    if ray.is_initialized():
        return ray
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address is None:
        os.environ.pop("RAY_ADDRESS", None)  # else it would connect to that cluster
        try:
            ray.init(
                address="local",  # never a cluster that somebody else started on this machine
                num_cpus=options.workers,
                include_dashboard=options.dashboard,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
        except Exception as error:  # Ray raises no class of its own
            raise InputError(
                f"Ray does not start on this machine: {first_line(error)} Where other work takes all cores, Ray gives "
                "up after 30 s: wait for its end, or use collector=overlapped, which needs no Ray"
            ) from error
        return ray
    try:
        host, _, port = options.address.rpartition(":")
        if port.isdigit():  # Ray itself waits for minutes where nobody listens
            socket.create_connection((host, int(port)), timeout=10.0).close()
        ray.init(address=options.address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"collector.address={options.address} cannot be reached: {first_line(error)}; start a cluster with "
            "`ray start --head`, or leave collector.address out to start Ray on this machine"
        ) from error
    return ray


def is_connected() -> bool:
    """Whether this process is connected to a cluster."""
    return "ray" in sys.modules and bool(ray_module().is_initialized())


def disconnect() -> None:
    """Leave the cluster; a Ray that was started here ends."""
    ray_module().shutdown()
