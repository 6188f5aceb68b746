"""A robot over UDP as a plant for acer-deploy: `acer-deploy policy=policy.pt plant=udp_plant:make`.

The environment variable ROBOT is the robot's address, 127.0.0.1:5005 by default.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from packets import COMMAND, HELLO, LARGEST, OBSERVATION, POWER_OFF, Packet, pack, unpack

Vector = npt.NDArray[np.float32]


class UdpPlant:
    """Reads the newest observation that arrived, and sends numbered commands. Nothing here ever blocks.

    Numbers begin at 1 with each drive. A random number names the drive, so that the robot knows them for new ones.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._newest: Packet | None = None
        self._stamp = 0.0
        self._offset = float("inf")
        self._drive, self._number = secrets.randbits(32), 0

    def connect(self) -> None:
        """Tell the robot where its observations go."""
        self._socket.connect(self._address)
        self._send(HELLO)

    def read(self) -> tuple[Vector, float] | None:
        """Return the newest observation and its time on our clock.

        The robot's clock is another one. The fastest packet so far gives the offset, so a delayed packet is old.
        """
        for packet in self._arrived():
            now = time.monotonic()
            self._offset = min(self._offset, now - packet.sent)
            if self._newest is None or packet.number > self._newest.number:
                self._newest, self._stamp = packet, min(now, packet.sent + self._offset)
        if self._newest is None:
            self._send(HELLO)  # the first one may be lost
            return None
        return self._newest.values, self._stamp

    def write(self, command: Vector) -> None:
        """Send a command."""
        self._send(COMMAND, command)

    def close(self) -> None:
        """Ask the robot to take its power off, more than once: a packet may be lost."""
        try:
            for _ in range(5):
                self._send(POWER_OFF)
        finally:
            self._socket.close()

    def _arrived(self) -> list[Packet]:
        packets = []
        while True:
            try:
                packet = unpack(self._socket.recv(LARGEST + 1))
            except (BlockingIOError, ConnectionRefusedError):
                return packets
            if packet is not None and packet.kind == OBSERVATION:
                packets.append(packet)

    def _send(self, kind: bytes, values: npt.ArrayLike = ()) -> None:
        self._number += 1
        # As if it were lost: the watchdogs of both sides handle it.
        with suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.send(pack(kind, self._number, time.monotonic(), values, self._drive))


def make() -> UdpPlant:
    """Return the plant at the address that ROBOT names."""
    host, _, port = os.environ.get("ROBOT", "127.0.0.1:5005").rpartition(":")
    return UdpPlant(host, int(port))
