"""Segments drawn by priority: how often, which never, what errors change, and that a run goes on with the same ones."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from numbered import CPU, filled, numbered_step

from acer_robot.errors import InputError
from acer_robot.experience.priorities import Priorities
from acer_robot.experience.replay import Replay
from acer_robot.run_folder.replay_files import new_rows, read_rows, write_rows

EXPONENT = 0.5
prioritised = partial(filled, priority_exponent=EXPONENT)


def shares(replay, draws=20_000):
    """Return how often segments are drawn, by the first observation of each."""
    numbers = replay.sample(draws).observations[0, :, 0]
    found, counts = numbers.unique(return_counts=True)
    return dict(zip(found.tolist(), (counts / draws).tolist(), strict=True))


def give_errors(replay, error_of, draws=500):
    """Let every segment of `replay` have the errors [4] that `error_of` gives for its first observation."""
    first = replay.sample(draws).observations[0, :, 0]
    replay.learnt(torch.stack([torch.tensor(error_of(number)) for number in first.tolist()], dim=1))


@pytest.mark.parametrize("steps", [4, 5, 9, 10, 13, 24])
def test_new_segments_are_drawn_alike_and_none_crosses_the_head(steps):
    first = prioritised(steps).sample(3000).observations[..., 0]
    assert torch.equal(first[1:] - first[:-1], torch.ones_like(first[1:]))
    starts, counts = first[0].unique(return_counts=True)
    oldest = max(0, steps - 10)
    assert starts.tolist() == [n + e for n in range(oldest, steps - 3) for e in (0.0, 0.25, 0.5)]
    expected = 3000 / len(starts)
    assert ((counts - expected).abs() < 6 * expected**0.5).all()


def test_segments_are_drawn_in_proportion_to_their_priority():
    """Five segments of one environment with errors 16, 4, 1, 0 and 0: their roots, no less than 1, sum to 9."""
    replay = Replay(8, 1, 2, 1, 4, CPU, priority_exponent=EXPONENT)
    for number in range(8):
        replay.add(numbered_step(number, 1))
    errors = {0.0: 16.0, 1.0: 4.0, 2.0: 1.0, 3.0: 0.2, 4.0: 0.0}
    give_errors(replay, lambda number: [errors[number]] * 4)
    drawn = shares(replay)
    for number, root in ((0.0, 4), (1.0, 2), (2.0, 1), (3.0, 1), (4.0, 1)):
        assert drawn[number] == pytest.approx(root / 9, abs=0.02), number


def test_the_steps_of_a_segment_are_averaged_after_the_root():
    replay = Replay(5, 1, 2, 1, 4, CPU, priority_exponent=EXPONENT)
    for number in range(5):
        replay.add(numbered_step(number, 1))
    give_errors(replay, lambda number: [49.0, 0.0, 1.0, 1.0] if number else [1.0] * 4)
    assert shares(replay)[1.0] == pytest.approx(2.5 / 3.5, abs=0.02)  # (7 + 1 + 1 + 1) / 4 against 1


def test_new_segments_get_the_largest_priority_that_was_seen():
    replay = prioritised(4, transitions=60)  # one segment in each environment
    give_errors(replay, lambda _number: [25.0] * 4)
    give_errors(replay, lambda _number: [1.0] * 4)
    replay.add(numbered_step(4))
    drawn = shares(replay)
    assert drawn[1.25] / drawn[0.25] == pytest.approx(5.0, rel=0.2)


def test_a_row_that_is_overwritten_loses_its_priority():
    replay = prioritised(10)
    give_errors(replay, lambda number: [1e6 if number < 1.0 else 1.0] * 4)
    assert sum(share for number, share in shares(replay).items() if number < 1.0) > 0.9
    replay.add(numbered_step(10))  # in the place of row 0
    drawn = shares(replay)
    assert min(drawn) >= 1.0
    assert max(drawn) <= 7.5
    assert drawn[7.0] > 0.3  # the segment that is complete now, of the largest priority


def test_a_segment_that_was_drawn_twice_gets_its_larger_error():
    priorities = Priorities(4, 1, 4, None, EXPONENT, CPU)
    priorities.add(0, 4, 0)
    priorities.draw(3, torch.Generator().manual_seed(0))
    for errors in ([9.0, 1.0, 4.0], [4.0, 1.0, 9.0]):
        priorities.learnt(torch.tensor(errors).expand(4, 3))
        assert priorities.state(0, 4)["rows"].flatten().tolist() == [3.0, 0.0, 0.0, 0.0]


def test_no_prioritised_segment_crosses_a_block():
    replay = Replay(40, 2, 1, 1, 3, CPU, block=5, priority_exponent=EXPONENT)
    for number in range(6):  # the ring is full, and its head is inside
        rows = torch.zeros(5, 2, replay.row_width)
        rows[..., 0] = 10 * number + torch.arange(5).unsqueeze(1)
        replay.extend(rows)
    seen = replay.sample(2000).observations[..., 0]
    assert torch.equal(seen[1:] - seen[:-1], torch.ones(2, 2000))
    assert sorted(seen[0].unique().tolist()) == [
        10.0 * block + start for block in (2, 3, 4, 5) for start in (0, 1, 2)
    ]


def test_each_environment_of_a_large_ring_is_drawn_by_its_priority():
    """3,000 rows of three environments need several sums; one segment in the middle has half of all priority."""
    replay = Replay(9000, 3, 2, 1, 1, CPU, priority_exponent=1.0)
    for number in range(2000):
        replay.add(numbered_step(number))
    special = 1000.25
    for _ in range(16):
        first = replay.sample(4000).observations[:, :, 0]
        replay.learnt(torch.where(first == special, 5999.0, 1.0))
    assert shares(replay)[special] == pytest.approx(0.5, abs=0.02)
    for number in range(2000, 5000):  # the ring wraps and loses it
        replay.add(numbered_step(number))
    assert max(shares(replay).values()) < 0.002  # all alike, of 6,000


def test_an_error_that_is_not_finite_counts_as_one():
    """The learner reports it; until then draws go on."""
    replay = prioritised(10)
    give_errors(replay, lambda number: [float("nan"), float("inf"), 0.0, 1.0] if number < 3.0 else [1.0] * 4)
    drawn = shares(replay)
    assert len(drawn) == 21
    assert max(drawn.values()) < 2 / 21


def test_sum_of_the_largest_errors_is_finite():
    replay = filled(10, priority_exponent=1.0)
    give_errors(replay, lambda number: [3e38 if number < 3.0 else 1.0] * 4)
    assert max(shares(replay)) < 3.0  # nothing else is drawn, and nothing breaks


@pytest.mark.parametrize("steps", [7, 10, 13, 14, 17])
@pytest.mark.parametrize("transitions", [30, 45, 18])
def test_a_restored_replay_draws_what_the_saved_one_would(tmp_path, steps, transitions):
    """Into a ring of the same size, a larger and a smaller one; the smaller has the newest of the rows."""
    replay = prioritised(steps)
    give_errors(replay, lambda number: [1.0 + number**2] * 4)
    state = replay.state()
    files = write_rows(tmp_path, new_rows(tmp_path, replay, []))
    fresh = prioritised(3, transitions, seed=9)
    oldest = state["added"] - min(state["size"], fresh.capacity)
    fresh.restore(state, read_rows(tmp_path, files, oldest))
    if transitions == 30:
        assert torch.equal(fresh.sample(50).rewards, replay.sample(50).rewards)
    kept, former = shares(fresh), shares(replay)
    total = sum(former[number] for number in kept)
    assert set(kept) == {number for number in former if number >= oldest}
    for number, share in kept.items():
        assert share == pytest.approx(former[number] / total, abs=0.03)
    ratios = []
    for each in (fresh, replay):
        each.add(numbered_step(steps))
        drawn = shares(each)
        ratios.append(drawn[steps - 3.0] / drawn[steps - 4.0])
    assert ratios[0] == pytest.approx(ratios[1], rel=0.2)  # the largest that was seen is restored as well


def test_a_replay_that_was_not_kept_starts_without_priorities():
    replay = prioritised(10)
    give_errors(replay, lambda _number: [1e4] * 4)
    fresh = prioritised(5)
    state = replay.state(rows_kept=False)
    assert len(state["priorities"]["rows"]) == 0
    fresh.restore(state, None)
    with pytest.raises(InputError, match="holds 0 steps"):
        fresh.sample(1)
    for number in range(4):
        fresh.add(numbered_step(number))
    assert set(shares(fresh)) == {0.0, 0.25, 0.5}
    assert fresh.state()["priorities"]["largest"] == 100.0  # the root of 1e4


def test_memory_of_the_priorities_is_counted():
    assert prioritised(0).memory_bytes > filled(0).memory_bytes
