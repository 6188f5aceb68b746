"""One packet: what it is, its drive, its number, when it was sent, float32 values, and a checksum over all of it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HEAD = struct.Struct("<4sIIdH")
"""Kind, drive, number, time in seconds, count of values; little-endian."""
HELLO, OBSERVATION, COMMAND, POWER_OFF = b"HELO", b"OBSV", b"CMND", b"POFF"
LARGEST = 1400
"""Bytes that fit into one Ethernet frame."""


@dataclass(frozen=True)
class Packet:
    """A packet that arrived whole."""

    kind: bytes
    drive: int
    """Random number of the drive that it belongs to; 0 of what the robot sends."""
    number: int
    sent: float
    """Seconds on the sender's monotonic clock."""
    values: npt.NDArray[np.float32]


def pack(kind: bytes, number: int, sent: float, values: npt.ArrayLike = (), drive: int = 0) -> bytes:
    """Return the bytes of a packet."""
    numbers = np.asarray(values, "<f4")
    body = HEAD.pack(kind, drive, number, sent, numbers.size) + numbers.tobytes()
    return body + struct.pack("<I", zlib.crc32(body))


def unpack(data: bytes) -> Packet | None:
    """Return the packet; None if it is cut, too long or corrupt."""
    if not HEAD.size + 4 <= len(data) <= LARGEST:
        return None
    body, (checksum,) = data[:-4], struct.unpack("<I", data[-4:])
    kind, drive, number, sent, count = HEAD.unpack(body[: HEAD.size])
    if zlib.crc32(body) != checksum or len(body) != HEAD.size + 4 * count:
        return None
    return Packet(kind, drive, number, sent, np.frombuffer(body[HEAD.size :], "<f4").astype(np.float32))
