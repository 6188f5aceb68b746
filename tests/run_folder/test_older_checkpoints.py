"""Checkpoints of former versions: retired options are known, others are refused by name."""

import dataclasses

import pytest
import torch
from exported import make_policy, make_run

from acer_robot.errors import InputError
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import (
    config_from_dict,
    former_checkpoints,
    load_run,
    retired_in_use,
    save_checkpoint,
)
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig


def options():
    return dataclasses.asdict(TrainConfig(TaskConfig("gymnasium", "Pendulum-v1"), run_dir="run"))


def test_copies_of_the_user_are_no_former_checkpoints(tmp_path):
    names = ("latest.1.pt", "latest.02.pt", "latest.3.pt", "latest.200000.pt", "latest.mine.pt", "best.1.pt")
    for name in names:
        (tmp_path / name).touch()
    found = former_checkpoints(tmp_path / "latest.pt")
    assert {file.name: number for file, number in found.items()} == {"latest.1.pt": 1, "latest.3.pt": 3}


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_retired_option_is_dropped(value):
    data = options()
    data["quiet_envs"] = 4
    data["learner"]["pathwise"] = value
    assert config_from_dict(data) == config_from_dict(options())


def test_retired_options_are_named_where_they_had_an_effect():
    data = options()
    data["learner"] |= {"value_bins": 0, "critic_lr": None, "max_grad_norm": None}
    assert retired_in_use(data) == []
    data["quiet_envs"] = 4
    data["learner"] |= {"value_bins": 101, "critic_lr": 3e-4}
    assert retired_in_use(data) == ["quiet_envs=4", "learner.value_bins=101", "learner.critic_lr=0.0003"]


def test_unknown_option_is_refused_by_name():
    data = options()
    data["learner"]["gama"] = 1.0
    with pytest.raises(InputError, match="the option gama of learner"):
        config_from_dict(data)


def test_loaded_policy_has_the_std_limit_of_training(tmp_path):
    options = LearnerConfig(hidden=[8], advantage_hidden=4, annealing_start=0, annealing_updates=10)
    spec = make_run(make_policy(3, 2)).spec
    learner = Learner(options, spec.observation_size, spec.action_size, torch.device("cpu"))
    state = learner.checkpoint_state()
    state["updates"] = 10
    config = TrainConfig(TaskConfig("gymnasium", "Pendulum-v1"), options, run_dir=str(tmp_path))
    save_checkpoint(tmp_path, state, config, spec, 100, "latest")
    loaded = load_run(tmp_path).policy.actor
    assert loaded.log_std_min.exp().item() == pytest.approx(options.std_min_final)
