"""A bad network: it loses, delays, repeats, reorders and corrupts packets."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Faults:
    """How often each fault happens, and how long a delay is."""

    lost: float = 0.0
    delayed: float = 0.0
    delay: float = 0.05
    """Longest delay in seconds. A delayed packet is overtaken by later ones: this reorders them."""
    repeated: float = 0.0
    corrupt: float = 0.0


class Channel:
    """One direction of the network. `send` puts a packet in; `due` gives those that have arrived by a time."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults, self._random = faults, np.random.default_rng(seed)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._count = 0

    def send(self, data: bytes, now: float) -> None:
        """Send a packet, or spoil it."""
        faults, random = self._faults, self._random
        if random.random() < faults.lost:
            return
        for _ in range(1 + (random.random() < faults.repeated)):
            late = faults.delay * random.random() if random.random() < faults.delayed else 0.0
            self._count += 1
            heapq.heappush(self._waiting, (now + late, self._count, self._spoiled(data)))

    def due(self, now: float) -> list[bytes]:
        """Return the packets that have arrived, in the order of their arrival."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= now:
            arrived.append(heapq.heappop(self._waiting)[2])
        return arrived

    def _spoiled(self, data: bytes) -> bytes:
        if self._random.random() >= self._faults.corrupt:
            return data
        spoiled = bytearray(data)
        spoiled[self._random.integers(len(data))] ^= 1 << int(self._random.integers(8))
        return bytes(spoiled)
