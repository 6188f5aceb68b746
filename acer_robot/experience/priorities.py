"""Which segments are drawn how often: a priority for every place of the ring where a segment can begin."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.policies.critic import HUBER_LIMIT

_LARGEST_ERROR = 1e30
"""Errors above it count as it does, so that their sum is finite."""
_WIDTH = 1024
"""How many priorities share one sum. A draw first chooses a sum, then a priority in it."""


class Priorities:
    """Priorities [capacity, num_envs] of the segments that begin in each row of a ring, in each environment.

    A segment is drawn with probability p / sum of all p, where

    `p = mean over its steps of max(|Qret - Q~(x, a)|, 1)^exponent`

    after it was learnt from, with the larger error of several critics. A new segment gets the largest p seen so far, 1
    at first. p is 0 where no whole segment follows: in the newest rows and, with blocks, at the end of each block.

    The critics' losses are then Huber's, whose limit is the 1 in p. docs/departures.md says what the two do together.

    All is computed on the device, without waiting for it.

    Source: Fujimoto et al. 2020, arXiv:2007.06049 (LAP), with segments in place of transitions.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        segment_length: int,
        block: int | None,
        exponent: float,
        device: torch.device,
    ) -> None:
        self._capacity, self._num_envs, self._segment_length = capacity, num_envs, segment_length
        self._exponent = exponent
        tables = -(-capacity * num_envs // _WIDTH)
        self._table = torch.zeros(tables, _WIDTH, device=device)
        self._rows = self._table.view(-1)[: capacity * num_envs].view(capacity, num_envs)
        self._sums = torch.zeros(tables, device=device, dtype=torch.float64)
        """Sum of each row of `_table`."""
        self._largest = torch.ones((), device=device)
        self._drawn = torch.zeros(0, dtype=torch.int64, device=device)
        """Numbers in the flattened ring of the starts that were drawn last."""
        places = torch.arange(capacity, device=device).unsqueeze(1)
        everywhere = torch.ones_like(places, dtype=torch.bool)
        self._can_begin = everywhere if block is None else places % block <= block - segment_length

    @property
    def state_bytes(self) -> int:
        """Bytes that the priorities of a full ring take in a checkpoint."""
        return self._rows.nbytes

    @property
    def memory_bytes(self) -> int:
        """Bytes that the priorities take."""
        return self._table.nbytes + self._sums.nbytes + self._can_begin.nbytes

    def clear(self) -> None:
        """Forget all priorities of rows; the largest that was seen stays."""
        self._table.zero_()
        self._sums.zero_()

    def add(self, begin: int, end: int, before: int) -> None:
        """Note that rows `begin` .. `end` - 1 of the ring are new, and follow `before` rows that are in it."""
        first = begin - min(self._segment_length - 1, before)
        complete = max(first, end - self._segment_length + 1)
        self._set(first, complete, self._largest)
        self._set(max(begin, complete), end, torch.zeros_like(self._largest))

    def _set(self, first: int, last: int, value: Tensor) -> None:
        """Set the starts in rows `first` .. `last` - 1, where a negative one is before the end of the ring."""
        if first < 0:
            self._set(self._capacity + first, self._capacity + min(last, 0), value)
            first = 0
        if first < last:
            self._rows[first:last] = value * self._can_begin[first:last]
            self._sum_again(slice(first * self._num_envs // _WIDTH, -(-last * self._num_envs // _WIDTH)))

    def _sum_again(self, tables: slice | Tensor) -> None:
        """Renew the sums of these rows of `_table`, in float64, where the order of adding makes no difference."""
        self._sums[tables] = self._table[tables].sum(1, dtype=torch.float64)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return rows [count] and environments [count] where segments begin, each drawn by its priority."""
        # In float64, where a number below 1 times a sum is below the sum: no place of priority 0 is ever found.
        random = torch.rand(2, count, 1, generator=generator, device=self._sums.device, dtype=torch.float64)
        edges = self._sums.cumsum(0)
        table = torch.searchsorted(edges, random[0, :, 0] * edges[-1], right=True)
        edges = self._table[table].double().cumsum(1)
        place = torch.searchsorted(edges, random[1] * edges[:, -1:], right=True)
        self._drawn = table * _WIDTH + place.squeeze(1)
        return self._drawn // self._num_envs, self._drawn % self._num_envs

    def learnt(self, errors: Tensor) -> None:
        """Take the errors |Qret - Q~| [T, B] of the segments that were drawn last.

        One that is not finite counts as 1: the learner's own check reports it, and until then draws must go on.
        """
        errors = errors.nan_to_num(nan=HUBER_LIMIT, posinf=HUBER_LIMIT).clamp(HUBER_LIMIT, _LARGEST_ERROR)
        priorities = errors.pow(self._exponent).mean(0).to(self._table.dtype)
        # A start that was drawn twice gets the larger one, whatever the order of writing.
        self._table.view(-1).scatter_reduce_(0, self._drawn, priorities, "amax", include_self=False)
        self._sum_again(self._drawn // _WIDTH)
        self._largest = torch.maximum(self._largest, priorities.max())

    def state(self, oldest: int, size: int) -> dict[str, Tensor]:
        """Return copies of the priorities [size, num_envs] from row `oldest` of the ring on, and of the largest."""
        return {"rows": self._rows[self._in_time(oldest, size)].cpu(), "largest": self._largest.cpu()}

    def restore(self, state: dict[str, Tensor], oldest: int, size: int) -> None:
        """Go on where `state` was called, in a ring that holds the newest `size` of the former rows."""
        self._largest = state["largest"].to(self._table)
        self._rows[self._in_time(oldest, size)] = state["rows"][len(state["rows"]) - size :].to(self._table)
        self._sum_again(slice(None))

    def _in_time(self, oldest: int, size: int) -> Tensor:
        """Return the places of `size` rows in the order of time."""
        return (oldest + torch.arange(size, device=self._table.device)) % self._capacity
