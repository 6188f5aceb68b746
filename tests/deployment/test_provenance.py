"""What policy.json and the card say about the code and the options that a policy comes from."""

import dataclasses
import json

import pytest
import torch
from exported import make_run

from acer_robot.deployment.export import NOT_HASHED, describe, export_policy
from acer_robot.learner.learner import Learner
from acer_robot.provenance import Software, this_software
from acer_robot.run_folder.checkpoints import load_run, save_checkpoint
from acer_robot.run_folder.layout import write_environment
from acer_robot.schema import LearnerConfig, TrainConfig, WandbConfig

TRAINED = Software("1234abc", {"torch": "2.0.0"})
OTHER = {
    "run_dir": "elsewhere",
    "wandb": WandbConfig("offline"),
    "threads": 7,
    "log_every": 7,
    "hand_over": False,
    "video": False,
    "sweep_dir": "elsewhere",
    "tensorboard": True,
    "eval_online": False,
}


def config_hash(run, **options):
    changed = dataclasses.replace(run, config=dataclasses.replace(run.config, **options))
    return describe(changed)["training"]["config_sha256"]


def saved(folder, software):
    options = LearnerConfig(hidden=[8], advantage_hidden=4)
    spec = make_run().spec
    learner = Learner(options, spec.observation_size, spec.action_size, torch.device("cpu"))
    config = TrainConfig(make_run().config.task, options, run_dir=str(folder))
    return save_checkpoint(folder, learner.checkpoint_state(), config, spec, 100, "latest", software)


def test_options_that_do_not_decide_the_result_are_not_hashed():
    assert OTHER.keys() == set(NOT_HASHED)
    run = make_run()
    assert {config_hash(run, **{name: value}) for name, value in OTHER.items()} == {config_hash(run)}


@pytest.mark.parametrize("option", ["seed", "steps", "num_envs", "eval_every", "eval_episodes", "device"])
def test_option_that_decides_the_result_is_hashed(option):
    assert config_hash(make_run(), **{option: "cuda" if option == "device" else 77}) != config_hash(
        make_run()
    )


def test_checkpoint_keeps_the_software_of_training(tmp_path):
    saved(tmp_path, TRAINED)
    run = load_run(tmp_path)
    assert run.software == TRAINED
    metadata = describe(run)
    assert metadata["training"]["revision"] == "1234abc"
    assert metadata["training"]["versions"] == {"torch": "2.0.0"}
    assert metadata["git_revision"] == this_software().revision
    assert metadata["versions"]["torch"] == torch.__version__


def test_checkpoint_without_software_exports_with_null(tmp_path):
    path = saved(tmp_path, TRAINED)
    content = torch.load(path, weights_only=True)
    del content["software"]
    content.pop("sha256", None)
    torch.save(content, path)
    training = describe(load_run(tmp_path))["training"]
    assert (training["revision"], training["versions"]) == (None, None)


def test_card_shows_training_and_export(tmp_path):
    run = dataclasses.replace(make_run(), software=TRAINED)
    export_policy(run, tmp_path)
    card = (tmp_path / "POLICY_CARD.md").read_text()
    assert "| code of training | 1234abc |" in card
    assert "| torch of training | 2.0.0 |" in card
    assert f"| code of export | {this_software().revision} |" in card
    assert f"| torch of export | {torch.__version__} |" in card
    assert "| mujoco of training | 3.17.0 |" in card
    assert "mujoco of export" not in card
    assert json.loads((tmp_path / "policy.json").read_text())["schema_version"] == 2


def test_environment_file_has_the_software_of_training(tmp_path):
    lines = write_environment(tmp_path, TRAINED).read_text().splitlines()
    assert "git revision: 1234abc" in lines
    assert "torch: 2.0.0" in lines
