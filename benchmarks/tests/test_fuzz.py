"""The fuzzed streams, and the judge of the commands that they get."""

import fuzz_bounds
import numpy as np
import pytest
import torch
from driving.fresh_policy import export, fresh_run
from driving.fuzz_streams import KINDS, next_rows
from fuzz_bounds import Counts, Judge

from acer_robot.policies.exported.file import load_exported
from acer_robot.schema import LearnerConfig


def test_streams_hold_every_kind_of_number():
    random, rows = np.random.default_rng(0), np.zeros((2000, 17), np.float32)
    before = rows
    for _ in range(3):
        before, rows = rows, next_rows(random, rows)
    assert np.isnan(rows).any()
    assert np.isinf(rows).any()
    assert (np.abs(rows) > 1e30).any()
    assert ((rows != 0.0) & (np.abs(rows) < 1e-38)).any()  # denormal
    same = (rows.view(np.uint32) == before.view(np.uint32)).all(axis=1)
    assert 0.5 < same.mean() * len(KINDS) < 1.5  # frozen


class Faulty:
    """A policy whose second command of each stream is wrong in the first joint."""

    def __init__(self, policy, value):
        self._policy, self._value, self._calls = policy, value, 0
        self.spec = policy.spec

    def reset(self):
        self._calls = 0
        self._policy.reset()

    def act(self, observations):
        commands = self._policy.act(observations).clone()
        self._calls += 1
        if self._calls == 2:
            commands[:, 0] = self._value
        return commands


@pytest.mark.parametrize(
    ("value", "outside", "jumps"), [(None, 0, 0), (1.1, 1, 1), (torch.nan, 1, 1), (0.99, 0, 1)]
)
def test_judge_sees_commands_that_break_the_promise(tmp_path, monkeypatch, value, outside, jumps):
    monkeypatch.setattr(fuzz_bounds, "BATCH", 10)
    run = fresh_run(learner=LearnerConfig(hidden=[8]), slew_rate=(1.0,) * 6)
    policy, counts = load_exported(export(run, tmp_path)), Counts()
    Judge(policy if value is None else Faulty(policy, value), counts).streams(np.random.default_rng(0), 10, 2)
    assert (counts.streams, counts.rows) == (10, 20)
    assert (counts.outside, counts.jumps) == (10 * outside, 10 * jumps)
