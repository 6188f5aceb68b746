"""On-device replay: a preallocated ring of transitions with the behaviour policy's statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from acer_robot import memory
from acer_robot.errors import InputError, NonFiniteError
from acer_robot.experience.priorities import Priorities
from acer_robot.experience.successors import Successors
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.generator import restore_generator
from acer_robot.memory import check_memory

_FIELDS = ("observations", "next_observations", "actions", "behaviour_mean", "behaviour_log_std")
_SCALARS = ("rewards", "terminated", "truncated")
_TERMINATED, _TRUNCATED = 1, 2

EPISODE_STEPS = 128
"""Steps of an episode for whose last successors there is room from the start. Shorter episodes need more later."""


class Replay:
    """A ring of `capacity` vector steps of `num_envs` environments, on one device.

    Row i of column b is environment b's i-th step, so that consecutive rows of a column are consecutive in time and a
    segment is a plain slice of it. An observation is stored once: the successor of a step is the observation of the
    next row. Those that are not, as at the end of an episode, are in `Successors`.

    With `block`, rows arrive in blocks of that many, each from one of several workers: only the rows of a block are
    consecutive in time, and no segment crosses the border of a block.

    With `priority_exponent` above 0 segments are drawn by priority, see `Priorities`, and else uniformly.

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
        priority_exponent: float = 0.0,
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
        self._stored = [observation_size, action_size, action_size, action_size, 1]
        steps = self.capacity * num_envs
        slots = 2 * num_envs + steps // min(EPISODE_STEPS, block or EPISODE_STEPS)
        needed = steps * (sum(self._stored) * dtype.itemsize + 5) + slots * observation_size * dtype.itemsize
        needed += steps * 4 if priority_exponent > 0.0 else 0
        free = free_memory(device)
        fits = int(transitions * (free or 0) / needed * 0.8)
        check_memory(f"learner.replay_size={transitions}", needed, free, f"lower it to {fits} or less")
        self.segment_length, self.num_envs = segment_length, num_envs
        self.size = 0
        """Vector steps stored."""
        self.added = 0
        """Vector steps that were ever added: step i of the run is row i, whether it is still here or not."""
        self._head = 0
        self._data = torch.zeros(self.capacity, num_envs, sum(self._stored), device=device, dtype=dtype)
        """Observation, action, mean, log std and reward of each step, side by side."""
        self._ends = torch.zeros(self.capacity, num_envs, dtype=torch.uint8, device=device)
        """Sum of _TERMINATED and _TRUNCATED of each step."""
        self._successors = Successors(self.capacity, num_envs, observation_size, slots, device, dtype)
        self._newest = torch.zeros(num_envs, observation_size, device=device, dtype=dtype)
        """Successors of the newest row, which no row follows yet."""
        self._offsets = torch.arange(segment_length + 1, device=device).unsqueeze(1)
        self._priorities = None
        if priority_exponent > 0.0:
            shape = (self.capacity, num_envs, segment_length)
            self._priorities = Priorities(*shape, block, priority_exponent, device)
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
        rows = Trajectory(**{name: getattr(step, name).unsqueeze(0) for name in (*_FIELDS, *_SCALARS)})
        if failed is not None and (failed.device.type != "cpu" or bool(failed.any())):
            if self.added == 0 and bool(failed.any()):
                raise NonFiniteError(
                    f"{int(failed.sum())} of {self.num_envs} environments broke down in the first step"
                )
            self._ends[self._head - 1] |= failed * _TRUNCATED
            rows = _chosen(failed, self._consecutive(self._head - 1, 1), rows)
        self._store(rows)

    def _store(self, rows: Trajectory) -> None:
        """Store rows [N, num_envs, ..] for which there is room before the end of the ring."""
        begin, end = self._head, self._head + len(rows.rewards)
        observations, successors = (
            values.to(self._data.dtype) for values in (rows.observations, rows.next_observations)
        )
        if self.size:
            self._successors.store(
                (begin - 1) % self.capacity, self._newest[None], _differ(self._newest[None], observations[:1])
            )
        self._successors.forget(begin, end)
        columns = [rows.actions, rows.behaviour_mean, rows.behaviour_log_std, rows.rewards.unsqueeze(-1)]
        columns = [observations, *(values.to(self._data.dtype) for values in columns)]
        torch.cat(columns, dim=-1, out=self._data[begin:end])
        self._ends[begin:end] = rows.terminated * _TERMINATED + rows.truncated * _TRUNCATED
        if end - begin > 1:
            self._successors.store(begin, successors[:-1], _differ(successors[:-1], observations[1:]))
        self._newest = successors[-1].clone()
        if self._priorities is not None:
            self._priorities.add(begin, end, min(self.size, self.capacity - (end - begin)))
        self._advance(end - begin)

    def _advance(self, steps: int) -> None:
        self._head = (self._head + steps) % self.capacity
        self.size = min(self.size + steps, self.capacity)
        self.added += steps

    def state(self, rows_kept: bool = True) -> dict[str, Any]:
        """Return counters, generator and priorities; `rows` gives what is stored.

        If the rows are not kept, their priorities are left out as well.
        """
        counters = {"added": self.added, "size": self.size, "oldest_place": self._oldest_place}
        state = {**counters, "generator": self._generator.get_state()}
        if self._priorities is not None:
            state["priorities"] = self._priorities.state(self._oldest_place, self.size if rows_kept else 0)
        return state

    def restore(self, state: dict[str, Any], rows: Iterable[Tensor] | None) -> None:
        """Go on where `state` was called, in a ring of the same or another capacity.

        Args:
            state: of `state`.
            rows: the stored rows in the order of time, in parts of any length; None: the ring stays empty.
        """
        # At the same place as before, since draws by priority depend on it. Former versions began at 0.
        self.size, self._head = 0, state.get("oldest_place", 0) % self.capacity
        self._successors.clear()
        if self._priorities is not None:
            self._priorities.clear()
        for part in rows or ():
            self.extend(part)
        self.added = state["added"]
        restore_generator(self._generator, state["generator"])
        if self._priorities is not None and "priorities" in state:
            self._priorities.restore(state["priorities"], self._oldest_place, self.size)

    def extend(self, rows: Tensor) -> None:
        """Store rows [N, num_envs, width] in the order of time, as `rows` yields them."""
        newest, room = rows[-self.capacity :], self.capacity - self._head
        for piece in (newest[:room], newest[room:]):
            if len(piece):
                self._store(self.unpack(piece))

    def cut(self) -> None:
        """Count the last step of every environment as the end of an episode, whose successor keeps its value."""
        if self.size:
            self._ends[self._head - 1] |= _TRUNCATED

    def reseed(self, seed: int) -> None:
        """Begin another stream of drawn segments."""
        self._generator.manual_seed(seed)

    def rows(self, first: int, most: int) -> Iterator[Tensor]:
        """Yield copies [<= most, num_envs, width] of the stored rows from number `first` on, in the order of time."""
        while first < self.added:
            begin = (self._head - (self.added - first)) % self.capacity
            count = min(most, self.added - first, self.capacity - begin)
            yield self._packed(self._consecutive(begin, count))
            first += count

    @property
    def oldest(self) -> int:
        """Number of the oldest row that is stored."""
        return self.added - self.size

    @property
    def row_width(self) -> int:
        """Numbers for each environment in a row that `rows` yields: its successor is a part of it."""
        return sum(self._widths)

    @property
    def row_bytes(self) -> int:
        """Size of a row that `rows` yields: one step of every environment."""
        return self.num_envs * self.row_width * self._data.element_size()

    @property
    def state_bytes(self) -> int:
        """Bytes that the priorities of a full ring take in a checkpoint; `rows` are beside it."""
        return 0 if self._priorities is None else self._priorities.state_bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes that the ring takes on its device."""
        own = self._data.nbytes + self._ends.nbytes + self._newest.nbytes
        own += 0 if self._priorities is None else self._priorities.memory_bytes
        return own + self._successors.memory_bytes

    def sample(self, segments: int) -> Trajectory:
        """Return `segments` segments, drawn from all environments and all starts whose rows are consecutive in time.

        They are drawn uniformly, or by priority.

        Raises:
            InputError: if fewer steps than one segment are stored.
        """
        self._require_segment()
        if self._priorities is not None:
            return self._segments(*self._priorities.draw(segments, self._generator))
        oldest = self._oldest_place
        if self._block is None:
            start = self._uniform(self.size - self.segment_length + 1, segments) + oldest
        else:
            block = self._uniform(self.size // self._block, segments)
            start = self._uniform(self._block - self.segment_length + 1, segments)
            start += block * self._block + oldest
        return self._segments(start, self._uniform(self.num_envs, segments))

    def learnt(self, errors: Tensor) -> None:
        """Take the errors |Qret - Q~| [T, B] of the batch that was drawn last, from which priorities are made."""
        if self._priorities is not None:
            self._priorities.learnt(errors)

    @property
    def _oldest_place(self) -> int:
        """Row of the ring that holds the oldest step."""
        return (self._head - self.size) % self.capacity

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
        return self._gathered((start + self._offsets) % self.capacity, column)

    def _consecutive(self, begin: int, count: int) -> Trajectory:
        """Return `count` consecutive rows of all environments."""
        rows = torch.arange(begin, begin + count + 1, device=self._data.device).unsqueeze(1) % self.capacity
        return self._gathered(rows, torch.arange(self.num_envs, device=self._data.device))

    def _gathered(self, rows: Tensor, column: Tensor) -> Trajectory:
        """Return the steps in all but the last of `rows` [K + 1, B], which are consecutive, of environments [B]."""
        index = rows * self.num_envs + column
        flat = self._data.view(-1, self._data.shape[-1])
        batch = flat.index_select(0, index.view(-1)).view(*index.shape, -1)
        observations, *others = batch.split(self._stored, dim=-1)  # type: ignore[no-untyped-call]
        actions, mean, log_std, rewards = (part[:-1] for part in others)
        successors = self._successors.of(index[:-1], observations[1:])
        is_newest = (rows[:-1] == (self._head - 1) % self.capacity).unsqueeze(-1)
        ends = self._ends.view(-1)[index[:-1]]
        return Trajectory(
            observations=observations[:-1],
            next_observations=torch.where(is_newest, self._newest[column], successors),
            actions=actions,
            rewards=rewards.squeeze(-1),
            terminated=(ends & _TERMINATED) > 0,
            truncated=(ends & _TRUNCATED) > 0,
            behaviour_mean=mean,
            behaviour_log_std=log_std,
        )

    def _packed(self, rows: Trajectory) -> Tensor:
        """Return rows as one tensor [N, num_envs, width]."""
        scalars = [getattr(rows, name).to(self._data.dtype).unsqueeze(-1) for name in _SCALARS]
        return torch.cat([*(getattr(rows, name) for name in _FIELDS), *scalars], dim=-1)

    def unpack(self, batch: Tensor) -> Trajectory:
        """Return rows [.., width] that `rows` yielded as the fields of steps."""
        parts: tuple[Tensor, ...] = batch.split(self._widths, dim=-1)  # type: ignore[no-untyped-call]
        rewards, terminated, truncated = (part.squeeze(-1) for part in parts[len(_FIELDS) :])
        return Trajectory(
            **dict(zip(_FIELDS, parts, strict=False)),
            rewards=rewards,
            terminated=terminated > 0.5,
            truncated=truncated > 0.5,
        )


def _chosen(worlds: Tensor, yes: Trajectory, no: Trajectory) -> Trajectory:
    """Return the steps of `yes` [N, B, ..] in the environments where `worlds` [B] holds, those of `no` elsewhere."""
    fields = {}
    for name in (*_FIELDS, *_SCALARS):
        one, other = getattr(yes, name), getattr(no, name)
        fields[name] = torch.where(worlds.view(-1, *[1] * (one.dim() - 2)), one, other.to(one.dtype))
    return Trajectory(**fields)


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Return where observations [.., n] differ in a bit, [..]; 0 and -0 differ."""
    bits = torch.int32 if one.dtype == torch.float32 else torch.int64
    return (one.view(bits) != other.view(bits)).any(-1)


def free_memory(device: torch.device) -> int | None:
    """Return free bytes on the device, or None where the platform does not tell."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory.free_memory()
