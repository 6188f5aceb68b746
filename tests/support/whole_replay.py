"""A replay that stores each observation twice, as simply as can be: what `Replay` must repeat bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.learner.batch import Trajectory

_FIELDS = ("observations", "next_observations", "actions", "behaviour_mean", "behaviour_log_std")
_SCALARS = ("rewards", "terminated", "truncated")


class WholeReplay:
    """A ring of `capacity` vector steps of `num_envs` environments, on one device.

    Row i of column b is environment b's i-th step, so that consecutive rows of a column are consecutive in time and a
    segment is a plain slice of it. All fields of a step lie side by side in one tensor [capacity, num_envs, width]: a
    batch is a single gather.

    With `block`, rows arrive in blocks of that many, each from one of several workers: only the rows of a block are
    consecutive in time, and no segment crosses the border of a block.

    Raises:
        InputError: if a segment does not fit, or the ring does not fit into the device's free memory.
    """

    def __init__(
        self,
        transitions: int,
        num_envs: int,
        observation_size: int,
        action_size: int,
        segment_length: int,
        device: torch.device,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        block: int | None = None,
    ) -> None:
        self._block = block
        self.capacity = transitions // num_envs
        if block is not None:
            self.capacity -= self.capacity % block
        if segment_length > self.capacity:
            raise InputError(
                f"learner.segment_length={segment_length} does not fit into the replay: learner.replay_size="
                f"{transitions} over {num_envs} environments holds {self.capacity} steps of each"
            )
        self._widths = [observation_size, observation_size, action_size, action_size, action_size, 1, 1, 1]
        shape = (self.capacity, num_envs, sum(self._widths))
        self.segment_length, self.num_envs = segment_length, num_envs
        self.size = 0
        """Vector steps stored."""
        self.added = 0
        """Vector steps that were ever added: step i of the run is row i, whether it is still here or not."""
        self._head = 0
        self._data = torch.zeros(shape, device=device, dtype=dtype)
        self._offsets = torch.arange(segment_length, device=device).unsqueeze(1)
        self._generator = torch.Generator(device).manual_seed(seed)

    @property
    def transitions(self) -> int:
        """Transitions stored, over all environments."""
        return self.size * self.num_envs

    def add(self, step: Trajectory, failed: Tensor | None = None) -> None:
        """Store one step of every environment; the fields of `step` are [num_envs, ..], without the time axis.

        Where `failed` [num_envs] holds, the step must not be learnt from. The environment's row before it is then the
        end of a truncated episode, and is stored a second time instead.

        Raises:
            NonFiniteError: if an environment failed in the very first step.
        """
        columns = [getattr(step, name) for name in _FIELDS]
        columns += [getattr(step, name).to(self._data.dtype).unsqueeze(-1) for name in _SCALARS]
        row = self._data[self._head]
        torch.cat(columns, dim=-1, out=row)
        if failed is not None:
            if self.added == 0 and bool(failed.any()):
                raise NonFiniteError(
                    f"{int(failed.sum())} of {self.num_envs} environments broke down in the first step"
                )
            before = self._data[self._head - 1]
            before[:, -1].masked_fill_(failed, 1.0)  # truncated
            torch.where(failed.unsqueeze(1), before, row, out=row)
        self._advance(1)

    def _advance(self, steps: int) -> None:
        self._head = (self._head + steps) % self.capacity
        self.size = min(self.size + steps, self.capacity)
        self.added += steps

    def state(self) -> dict[str, Any]:
        """Return the counters and the generator; `rows` gives what is stored."""
        return {"added": self.added, "size": self.size, "generator": self._generator.get_state()}

    def restore(self, state: dict[str, Any], rows: Iterable[Tensor] | None) -> None:
        """Go on where `state` was called, in a ring of the same or another capacity.

        Args:
            state: of `state`.
            rows: the stored rows in the order of time, in parts of any length; None: the ring stays empty.
        """
        self.size = self._head = 0
        for part in rows or ():
            self.extend(part)
        self.added = state["added"]
        self._generator.set_state(state["generator"])

    def extend(self, rows: Tensor) -> None:
        """Store rows [N, num_envs, width] in the order of time, as `rows` yields them."""
        newest = rows[-self.capacity :]
        pieces: tuple[Tensor, ...] = newest.split(self.capacity - self._head)  # type: ignore[no-untyped-call]
        for piece in pieces:
            self._data[self._head : self._head + len(piece)] = piece
            self._advance(len(piece))

    def cut(self) -> None:
        """Count the last step of every environment as the end of an episode, whose successor keeps its value."""
        if self.size:
            self._data[self._head - 1, :, -1] = 1.0

    def reseed(self, seed: int) -> None:
        """Begin another stream of drawn segments."""
        self._generator.manual_seed(seed)

    def rows(self, first: int, most: int) -> Iterator[Tensor]:
        """Yield the stored rows from number `first` on, in the order of time, as views [<= most, num_envs, width]."""
        while first < self.added:
            begin = (self._head - (self.added - first)) % self.capacity
            count = min(most, self.added - first, self.capacity - begin)
            yield self._data[begin : begin + count]
            first += count

    @property
    def oldest(self) -> int:
        """Number of the oldest row that is stored."""
        return self.added - self.size

    @property
    def row_width(self) -> int:
        """Numbers in a row for each environment."""
        return self._data.shape[-1]

    @property
    def row_bytes(self) -> int:
        """Size of one row: one step of every environment."""
        return self._data[0].numel() * self._data.element_size()

    def sample(self, segments: int) -> Trajectory:
        """Return `segments` segments, uniform over environments and over all starts whose rows are consecutive in time.

        Raises:
            InputError: if fewer steps than one segment are stored.
        """
        self._require_segment()
        oldest = self._head if self.size == self.capacity else 0
        if self._block is None:
            start = self._uniform(self.size - self.segment_length + 1, segments) + oldest
        else:
            block = self._uniform(self.size // self._block, segments)
            start = self._uniform(self._block - self.segment_length + 1, segments)
            start += block * self._block + oldest
        return self._segments(start, self._uniform(self.num_envs, segments))

    def _uniform(self, below: int, count: int) -> Tensor:
        """Return `count` random numbers of 0 .. below - 1."""
        return torch.randint(below, (count,), generator=self._generator, device=self._data.device)

    def latest(self, first: int, segments: int) -> Trajectory:
        """Return the last segment of each of the environments `first`, `first` + 1, .., at most `segments` of them.

        Raises:
            InputError: if fewer steps than one segment are stored.
        """
        self._require_segment()
        column = torch.arange(first, min(first + segments, self.num_envs), device=self._data.device)
        return self._segments(torch.full_like(column, self._head - self.segment_length), column)

    def _require_segment(self) -> None:
        if self.size < self.segment_length:
            raise InputError(
                f"the replay holds {self.size} steps, fewer than one segment of {self.segment_length}"
            )

    def _segments(self, start: Tensor, column: Tensor) -> Trajectory:
        """Return the segments that begin at rows `start` [B] of the environments `column` [B]."""
        rows = (start + self._offsets) % self.capacity
        flat = self._data.view(-1, self._data.shape[-1])
        batch = flat.index_select(0, (rows * self.num_envs + column).view(-1))
        return self._unpack(batch.view(self.segment_length, len(start), -1))

    def _unpack(self, batch: Tensor) -> Trajectory:
        parts: tuple[Tensor, ...] = batch.split(self._widths, dim=-1)  # type: ignore[no-untyped-call]
        rewards, terminated, truncated = (part.squeeze(-1) for part in parts[len(_FIELDS) :])
        return Trajectory(
            **dict(zip(_FIELDS, parts, strict=False)),
            rewards=rewards,
            terminated=terminated > 0.5,
            truncated=truncated > 0.5,
        )
