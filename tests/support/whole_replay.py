"""A replay that stores each observation twice, as simply as can be: what `Replay` must repeat bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from acer_robot.errors import NonFiniteError
from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory

_FIELDS = ("observations", "next_observations", "actions", "behaviour_mean", "behaviour_log_std")
_SCALARS = ("rewards", "terminated", "truncated")


class WholeReplay(Replay):
    """A `Replay` whose fields of a step, its successor too, lie side by side in one tensor [capacity, num_envs, width].

    The code that chooses rows is the same. How a row is stored, read, cut and repeated is not: a batch is one gather.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        shape = (self.capacity, self.num_envs, self.row_width)
        self._data = torch.zeros(shape, device=self._data.device, dtype=self._data.dtype)
        self._offsets = torch.arange(self.segment_length, device=self._data.device).unsqueeze(1)

    def add(self, step: Trajectory, failed: Tensor | None = None) -> None:
        """Store one step; where `failed` holds, the row before it ends its episode and is stored a second time."""
        columns = [getattr(step, name) for name in _FIELDS]
        columns += [getattr(step, name).to(self._data.dtype).unsqueeze(-1) for name in _SCALARS]
        row = self._data[self._head]
        torch.cat(columns, dim=-1, out=row)
        if failed is not None:
            if self.added == 0 and bool(failed.any()):
                raise NonFiniteError("an environment broke down in the first step")
            before = self._data[self._head - 1]
            before[:, -1].masked_fill_(failed, 1.0)  # truncated
            torch.where(failed.unsqueeze(1), before, row, out=row)
        self._advance(1)

    def extend(self, rows: Tensor) -> None:
        """Store rows [N, num_envs, width]."""
        for row in rows:
            self._data[self._head] = row
            self._advance(1)

    def cut(self) -> None:
        """Count the last step of every environment as truncated."""
        if self.size:
            self._data[self._head - 1, :, -1] = 1.0

    def rows(self, first: int, most: int) -> Iterator[Tensor]:
        """Yield the stored rows from number `first` on, one by one."""
        for number in range(first, self.added):
            begin = (self._head - (self.added - number)) % self.capacity
            yield self._data[begin : begin + 1]

    def _segments(self, start: Tensor, column: Tensor) -> Trajectory:
        rows = (start + self._offsets) % self.capacity
        flat = self._data.view(-1, self.row_width)
        batch = flat.index_select(0, (rows * self.num_envs + column).view(-1))
        return self.unpack(batch.view(self.segment_length, len(start), -1))
