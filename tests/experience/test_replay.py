"""The ring: what goes in comes out, in order, never across the head, and seeded."""

from __future__ import annotations

import pytest
import torch
from composed import composed_train
from numbered import CPU, filled, numbered_step

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.experience.replay import Replay
from acer_robot.training.run import prepare


def test_every_field_comes_back_where_it_was_put():
    batch = filled(8).sample(64)
    number = batch.observations[..., 0]
    assert batch.observations.shape == (4, 64, 2)
    assert batch.actions.shape == (4, 64, 1)
    torch.testing.assert_close(batch.next_observations[..., 1], number + 1.0)
    torch.testing.assert_close(batch.actions[..., 0], number + 2000.0)
    torch.testing.assert_close(batch.rewards, number + 3000.0)
    torch.testing.assert_close(batch.behaviour_mean[..., 0], number + 4000.0)
    torch.testing.assert_close(batch.behaviour_log_std[..., 0], number + 5000.0)
    assert torch.equal(batch.terminated, number.floor() % 5 == 0)
    assert torch.equal(batch.truncated, number.floor() % 7 == 0)


@pytest.mark.parametrize("steps", [4, 9, 10, 13, 24])
def test_segments_are_consecutive_and_cover_all_that_is_stored(steps):
    """24 steps into a ring of 10 wrap twice: the oldest step left is 14, and no segment crosses from 23 to 14."""
    first = filled(steps).sample(2000).observations[..., 0]
    assert torch.equal(first[1:] - first[:-1], torch.ones_like(first[1:]))
    oldest = max(0, steps - 10)
    environment = (first[0] % 1.0 / 0.25).long()
    assert set(first[0].floor().long().tolist()) == set(range(oldest, steps - 3))
    assert set(environment.tolist()) == {0, 1, 2}


def test_same_seed_samples_the_same_segments():
    draws = [filled(10, seed=seed).sample(50).observations for seed in (4, 4, 5)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_segment_longer_than_the_ring_is_refused():
    with pytest.raises(InputError, match=r"segment_length=11 does not fit.*replay_size=30 over 3.*holds 10"):
        Replay(30, 3, 2, 1, 11, CPU)


def test_ring_larger_than_the_memory_is_refused():
    with pytest.raises(
        InputError,
        match=r"replay_size=1000000000000 would take .* GiB of memory.*; lower it to \d+ or",
    ):
        Replay(10**12, 1, 100, 10, 4, CPU)


def test_sampling_before_one_segment_is_stored_is_refused():
    with pytest.raises(InputError, match="holds 3 steps, fewer than one segment of 4"):
        filled(3).sample(1)


def test_episodes_end_inside_a_segment_and_at_its_last_step():
    batch = filled(8).sample(64)
    ends = batch.terminated | batch.truncated
    assert ends[:-1].any()
    assert torch.equal(batch.episode_continues[:-1], ~ends[:-1])
    assert not batch.episode_continues[-1].any()


@pytest.mark.parametrize("steps", [4, 9, 10, 13, 24])
def test_latest_segments_end_with_the_last_step(steps):
    replay = filled(steps)
    last = torch.arange(steps - 4.0, steps).unsqueeze(1)
    torch.testing.assert_close(replay.latest(0, 2).observations[..., 0], last + torch.tensor([0.0, 0.25]))
    torch.testing.assert_close(replay.latest(2, 2).observations[..., 0], last + torch.tensor([0.5]))


def test_a_latest_segment_that_is_not_there_yet_is_refused():
    with pytest.raises(InputError, match="holds 3 steps, fewer than one segment of 4"):
        filled(3).latest(0, 1)


@pytest.mark.parametrize(("asked", "rows"), [("1000000", 70), ("400", 25)])
def test_ring_is_no_larger_than_the_run_can_fill(asked, rows):
    """1,000 steps and a segment of 8 in each of 16 environments: 70 whole vector steps."""
    options = (f"learner.replay_size={asked}", "learner.segment_length=8", "steps=1000", "run_dir=new")
    run = prepare(composed_train(*options))
    assert run.replay.capacity == rows
    run.task.close()
    run.evaluation_task.close()


def test_no_segment_crosses_the_border_of_a_block():
    replay = Replay(40, 2, 1, 1, 3, torch.device("cpu"), block=5)
    assert replay.capacity == 20
    for number in range(6):  # the ring is full, and its head is inside
        rows = torch.zeros(5, 2, replay.row_width)
        rows[..., 0] = 10 * number + torch.arange(5).unsqueeze(1)
        replay.extend(rows)
    seen = replay.sample(2000).observations[..., 0]  # [3, 2000]
    assert torch.equal(seen[1:] - seen[:-1], torch.ones(2, 2000))
    starts, counts = seen[0].unique(return_counts=True)
    assert starts.tolist() == [10.0 * block + start for block in (2, 3, 4, 5) for start in (0, 1, 2)]
    assert counts.min() > 100


@pytest.mark.parametrize("steps", [5, 10, 23])
def test_failed_step_is_not_stored(steps):
    """Environment 1 fails: its step before becomes the end of an episode, and stands there twice."""
    replay = filled(steps)
    replay.add(numbered_step(steps), torch.tensor([False, True, False]))
    last = replay.latest(0, 3)
    assert last.observations[-1, :, 0].tolist() == [steps, steps - 0.75, steps + 0.5]
    for name in (
        "next_observations",
        "actions",
        "rewards",
        "behaviour_mean",
        "behaviour_log_std",
        "terminated",
    ):
        values = getattr(last, name)
        assert torch.equal(values[-1, 1], values[-2, 1]), name
    assert last.truncated[-2:, 1].all()
    kept = filled(steps).latest(0, 3)
    for name in ("observations", "truncated", "rewards"):
        assert torch.equal(getattr(last, name)[:-1, [0, 2]], getattr(kept, name)[1:, [0, 2]]), name
    assert not last.episode_continues[-2, 1]


def test_failure_in_the_first_step_is_refused():
    replay = filled(0)
    with pytest.raises(NonFiniteError, match="1 of 3 environments broke down in the first step"):
        replay.add(numbered_step(0), torch.tensor([False, True, False]))
    replay.add(numbered_step(0), torch.zeros(3, dtype=torch.bool))
    assert replay.added == 1


def test_cut_ends_the_newest_step_of_every_environment():
    replay = filled(6)
    replay.cut()
    last, before = replay.latest(0, 3).truncated[-1], filled(6).latest(0, 3).truncated
    assert last.all()
    assert torch.equal(replay.latest(0, 3).truncated[:-1], before[:-1])
    Replay(30, 3, 2, 1, 4, CPU).cut()
