"""Checkpoints of former versions: retired options are known, others are refused by name."""

import dataclasses

import pytest

from acer_robot.errors import InputError
from acer_robot.run_folder.checkpoints import config_from_dict
from acer_robot.schema import TaskConfig, TrainConfig


def options():
    return dataclasses.asdict(TrainConfig(TaskConfig("gymnasium", "Pendulum-v1"), run_dir="run"))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_retired_option_is_dropped(value):
    data = options()
    data["quiet_envs"] = 4
    data["learner"]["pathwise"] = value
    assert config_from_dict(data) == config_from_dict(options())


def test_unknown_option_is_refused_by_name():
    data = options()
    data["learner"]["gama"] = 1.0
    with pytest.raises(InputError, match="the option gama of learner"):
        config_from_dict(data)
