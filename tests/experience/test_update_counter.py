"""Which updates are due."""

import pytest
import torch

from acer_robot.experience.replay import Replay
from acer_robot.experience.update_counter import Batches
from acer_robot.learner.batch import Trajectory
from acer_robot.schema import LearnerConfig


@pytest.mark.parametrize("poisson", [False, True])
def test_no_update_is_due_before_the_replay_holds_a_segment(poisson):
    options = LearnerConfig(
        segment_length=8, segments=2, replay_ratio=16.0, learning_starts=0, poisson=poisson
    )
    replay = Replay(1024, 4, 3, 1, options.segment_length, torch.device("cpu"))
    batches = Batches(replay, options, seed=0)
    wide, flat = torch.zeros(4, 3), torch.zeros(4)
    one = torch.zeros(4, 1)
    step = Trajectory(wide, wide, one, flat, flat, flat, one, one)
    drawn = []
    for steps in range(1, 17):
        replay.add(step)
        drawn.append(len(list(batches.due(4 * steps))))
    assert drawn[:7] == [0] * 7
    assert sum(drawn[7:]) > 0
