"""Which updates are due."""

import pytest
import torch

from acer_robot.experience.replay import Replay
from acer_robot.experience.update_counter import Batches, updates_per_transition
from acer_robot.learner.batch import Trajectory
from acer_robot.schema import LearnerConfig

WIDE, ONE, FLAT = torch.zeros(4, 3), torch.zeros(4, 1), torch.zeros(4)
STEP = (WIDE, WIDE, ONE, FLAT, FLAT, FLAT, ONE, ONE)
"""What four environments store in a step."""


def test_updates_on_policy_are_as_many_as_foretold():
    options = LearnerConfig(segment_length=4, segments=2, replay_ratio=64.0, on_policy=True)
    replay = Replay(1024, 4, 3, 1, options.segment_length, torch.device("cpu"))
    batches, done = Batches(replay, options, seed=0), 0
    for steps in range(1, 41):
        replay.add(Trajectory(*STEP))
        done += len(list(batches.due(4 * steps)))
    assert done == 160 * updates_per_transition(options) == 20


@pytest.mark.parametrize("poisson", [False, True])
def test_no_update_is_due_before_the_replay_holds_a_segment(poisson):
    options = LearnerConfig(
        segment_length=8, segments=2, replay_ratio=16.0, learning_starts=0, poisson=poisson
    )
    replay = Replay(1024, 4, 3, 1, options.segment_length, torch.device("cpu"))
    batches = Batches(replay, options, seed=0)
    drawn = []
    for steps in range(1, 17):
        replay.add(Trajectory(*STEP))
        drawn.append(len(list(batches.due(4 * steps))))
    assert drawn[:7] == [0] * 7
    assert sum(drawn[7:]) > 0
