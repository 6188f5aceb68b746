"""The successors of a ring's rows: most are the observation of the next row, and only the others are stored."""

from __future__ import annotations

import torch
from torch import Tensor


class Successors:
    """The true successors of those rows of a ring whose successor is not what the next row observes.

    They lie in slots, in the order of their rows: rows leave the ring in that order, so that the slots are a ring as
    well. It grows where it is full. All counts stay on the device. How many slots are free is read from there only
    when more rows came than were surely free before: with 2,048 environments and ten million transitions of episodes
    of 1,000 steps, once in some 40 steps of all environments.
    """

    def __init__(
        self, capacity: int, num_envs: int, width: int, slots: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Make an empty one for a ring [capacity, num_envs] of observations of this width, with room for `slots`."""
        self._slots = torch.zeros(capacity, num_envs, dtype=torch.int32, device=device)
        """1 + the slot of each row; 0: its successor is what the next row observes."""
        self._pool = torch.zeros(slots + 1, width, device=device, dtype=dtype)
        """The slots, and one that takes what is not to be stored."""
        self._first = torch.zeros((), dtype=torch.int64, device=device)
        self._count = self._first.clone()
        self._surely_free = slots

    @property
    def memory_bytes(self) -> int:
        """Bytes that it takes."""
        return self._slots.nbytes + self._pool.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._slots.zero_()
        self._first.zero_()
        self._count.zero_()
        self._surely_free = len(self._pool) - 1

    def forget(self, begin: int, end: int) -> None:
        """Free the slots of the rows `begin` .. `end` - 1, which must be the oldest."""
        slots = self._slots[begin:end]
        freed = (slots > 0).sum()
        slots.zero_()
        self._first = (self._first + freed) % (len(self._pool) - 1)
        self._count -= freed

    def store(self, begin: int, successors: Tensor, chosen: Tensor) -> None:
        """Store `successors` [N, B, n] of the rows from `begin` on, where `chosen` [N, B] holds.

        Rows must be stored in the order of time.
        """
        if chosen.device.type == "cpu" and not bool(chosen.any()):
            return
        self._make_room(chosen.numel())
        size = len(self._pool) - 1
        flat = chosen.flatten()
        slots = (self._first + self._count + flat.cumsum(0) - 1) % size
        slots = torch.where(flat, slots, size)
        self._pool[slots] = successors.flatten(0, 1)
        self._slots[begin : begin + len(chosen)] = torch.where(flat, slots + 1, 0).view_as(chosen).int()
        self._count += flat.sum()

    def _make_room(self, most: int) -> None:
        """Grow unless `most` slots are free."""
        if self._surely_free < most:
            size = len(self._pool) - 1
            kept = int(self._count)
            if size - kept < most:
                self._grow(max(2 * size, kept + most))
            self._surely_free = len(self._pool) - 1 - kept
        self._surely_free -= most

    def _grow(self, size: int) -> None:
        """Move the slots into a pool of `size`, the oldest first."""
        old = len(self._pool) - 1
        order = (self._first + torch.arange(old, device=self._pool.device)) % old
        pool = torch.zeros(size + 1, self._pool.shape[1], device=self._pool.device, dtype=self._pool.dtype)
        pool[:old] = self._pool[order]
        moved = (self._slots - 1 - self._first.int()) % old + 1
        self._slots = torch.where(self._slots > 0, moved, 0).int()
        self._pool = pool
        self._first = torch.zeros_like(self._first)

    def of(self, index: Tensor, following: Tensor) -> Tensor:
        """Return successors [K, B, n] of the rows with these numbers [K, B] in the flattened ring.

        `following` [K, B, n] is what the next rows observe.
        """
        slots = self._slots.view(-1)[index]
        stored = self._pool[(slots - 1).clamp_min(0)]
        return torch.where((slots > 0).unsqueeze(-1), stored, following)
