"""An observation is stored once, and what is drawn is bit for bit what a ring that stores it twice gives."""

from __future__ import annotations

import pytest
import torch
from composed import composed_train
from whole_replay import WholeReplay

from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.training.run import prepare

CPU = torch.device("cpu")
ENVS, WIDTH, JOINTS = 3, 2, 1
FIELDS = tuple(Trajectory.__dataclass_fields__)


class Stream:
    """Steps of environments whose episodes end at random."""

    def __init__(self, seed, ends, dtype=torch.float32):
        self.random, self.ends, self.dtype = torch.Generator().manual_seed(seed), ends, dtype
        self.observations = self.drawn(WIDTH)

    def drawn(self, width):
        return torch.randn(ENVS, width, generator=self.random, dtype=self.dtype)

    def chance(self, share):
        return torch.rand(ENVS, generator=self.random) < share

    def step(self):
        observations, successors = self.observations, self.drawn(WIDTH)
        terminated, truncated = self.chance(self.ends), self.chance(self.ends)
        ended = (terminated | truncated).unsqueeze(1)
        self.observations = torch.where(ended, self.drawn(WIDTH), successors)
        numbers = [self.drawn(JOINTS) for _ in range(3)]
        rewards = self.drawn(1)[:, 0]
        return Trajectory(observations, successors, numbers[0], rewards, terminated, truncated, *numbers[1:])


def pair(transitions=60, **options):
    arguments = (transitions, ENVS, WIDTH, JOINTS, 4, CPU, 5)
    return Replay(*arguments, **options), WholeReplay(*arguments, **options)


def assert_same(one, other):
    for draw in ("sample", "latest"):
        if draw == "latest" or other.size >= (other._block or 1):
            drawn = [ring.latest(0, ENVS) if draw == "latest" else ring.sample(40) for ring in (one, other)]
            for name in FIELDS:
                a, b = (getattr(batch, name).contiguous() for batch in drawn)
                assert a.dtype == b.dtype
                assert torch.equal(a, b), (draw, name)
    rows = [torch.cat(list(ring.rows(ring.oldest, 7))) for ring in (one, other)]
    assert torch.equal(*rows)


@pytest.mark.parametrize("ends", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_step_gives_what_a_ring_of_whole_steps_gives(ends, dtype):
    """With failed steps, cut episodes, and more ends of episodes than there was room for at the start."""
    one, other = pair(dtype=dtype)
    stream, slots = Stream(1, ends, dtype), len(one._successors._pool)
    for number in range(70):
        failed = stream.chance(0.1) if number else None
        step = stream.step()
        for ring in (one, other):
            ring.add(step, failed)
            if number % 11 == 10:
                ring.cut()
        if number >= 4:
            assert_same(one, other)
    assert len(one._successors._pool) > slots


@pytest.mark.parametrize("block", [None, 5])
def test_rows_of_workers_and_of_files_give_the_same(block):
    one, other = pair(block=block)
    for number in range(9):  # each block comes from another place, and the ring of 20 wraps twice
        stream, source = Stream(number, 0.2), pair(transitions=15)[1]
        for _ in range(5):
            source.add(stream.step())
        for ring in (one, other):
            ring.extend(torch.cat(list(source.rows(0, 99))))
        assert_same(one, other)
    rows = list(other.rows(other.oldest, 7))
    again, whole = pair(transitions=36 if block is None else 45, block=block)
    for ring in (again, whole):
        ring.extend(torch.zeros(5, ENVS, ring.row_width))
        ring.restore(other.state(), rows)
    assert_same(again, whole)


def test_only_the_ends_of_stored_episodes_take_a_slot():
    """The ring has the last 30 steps; the newest row of each environment has no slot yet."""
    ring, stream, ends = pair(transitions=90)[0], Stream(0, 0.1), []
    for _ in range(90):
        step = stream.step()
        ends.append(int((step.terminated | step.truncated).sum()))
        ring.add(step)
    assert int(ring._successors._count) == sum(ends[-30:-1]) > 5


def test_ten_million_transitions_take_less_than_1500_megabytes():
    """17 observations and 6 joints: a hundredth of it, scaled. What is not scaled with it is 0.4 MB of 2,048 worlds."""
    ring = Replay(100_000, 32, 17, 6, 8, CPU)
    assert 1.4e9 < ring.memory_bytes * 10_000_000 / (ring.capacity * ring.num_envs) < 1.499e9


def test_memory_line_counts_an_observation_once(capsys):
    from acer_robot.training.announce import memory_needed
    from acer_robot.training.run import sizes_of

    run = prepare(
        composed_train("task=halfcheetah", "learner.replay_size=100000", "steps=100000", "run_dir=new")
    )
    sizes = sizes_of(run)
    assert sizes.memory == run.replay.memory_bytes < 0.7 * sizes.replay
    assert f"replay ({sizes.memory / 2**20:,.0f})" in memory_needed(sizes)
    run.task.close()
    run.evaluation_task.close()
