"""The script that times the learner alone: what it counts, and the row that it prints."""

import learner_speed
import pytest
import torch

from acer_robot.schema import LearnerConfig

CPU = torch.device("cpu")
SMALL = {"hidden": [8, 8], "advantage_hidden": 8}


@pytest.fixture
def replay(monkeypatch):
    monkeypatch.setattr(learner_speed, "STEPS", 20)
    return learner_speed.filled_replay(2, CPU)


def test_operations_are_in_proportion_to_the_states_of_an_update(replay):
    few, many = (
        learner_speed.operations(LearnerConfig(segments=segments, **SMALL), replay, CPU)
        for segments in (4, 12)
    )
    # At the least, forward and backward pass of one hidden layer of actor and critics, for each state.
    assert few > 4 * 2 * 3 * 2 * 8 * 8
    assert many == 3 * few


def test_a_row_names_the_setting_and_its_speed(monkeypatch, replay):
    monkeypatch.setattr(learner_speed, "SECONDS", 0.02)
    row = learner_speed.measure(LearnerConfig(segments=48, segment_length=2, compile=False), CPU)
    transitions, critics, kind, milliseconds, *_, speed, share = row.split()
    assert (transitions, critics, kind) == ("96", "2", "eager")
    assert float(speed.replace(",", "")) == pytest.approx(96e3 / float(milliseconds), rel=0.02)
    assert float(share.rstrip("%")) > 0.0
