"""How much commands change in a second is measured in the first episode of each environment, within the bounds."""

from types import SimpleNamespace

import pytest
import torch
from exported import make_bounds

from acer_robot.deployment.command_change import CommandMeter
from acer_robot.tasks import StepResult


def meter():
    """Two environments with one joint of the range -1 to 3 and a step of 0.1 s."""
    spec = SimpleNamespace(bounds=make_bounds([-1.0], [3.0]), control_dt=0.1)
    return CommandMeter(SimpleNamespace(spec=spec, num_envs=2, device=torch.device("cpu")))


def step(watch, commands, ended):
    no, zeros = torch.zeros(2, dtype=torch.bool), torch.zeros(2, 1)
    result = StepResult(zeros, zeros, zeros[:, 0], no, torch.tensor(ended), torch.ones(2))
    watch(zeros, torch.tensor(commands).unsqueeze(1), result)


def test_change_counts_within_bounds_and_the_first_episode():
    """The range is 4. Environment 0 changes by 1, then by 3 to the bound; environment 1 by 2 and then ends."""
    watch = meter()
    step(watch, [-1.0, 0.0], [False, False])
    step(watch, [0.0, 2.0], [False, True])
    step(watch, [9.0, -1.0], [False, False])
    assert watch.per_second() == pytest.approx((1 + 2 + 3) / 3 / 4 / 0.1)


def test_one_command_has_no_change():
    watch = meter()
    step(watch, [0.0, 0.0], [True, True])
    assert watch.per_second() is None
