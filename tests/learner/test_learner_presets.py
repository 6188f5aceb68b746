"""The presets in configs/learner: the paper's settings in full, and what each baseline and ablation changes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import learning
import paper
import pytest
from composed import composed_train
from rows.runs import Run

from acer_robot.training.validate import check_train

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "learner"
PAPER = {
    "estimator": "acer",
    "on_policy": False,
    "squash": "clip",
    "learned_std": False,
    "std_init": 0.3,
    "std_min_final": None,
    "mean_bound": None,
    "c": 5.0,
    "correction": "score",
    "trace_lambda": 1.0,
    "trace_exponent": 1.0,
    "trust_region": True,
    "delta": 1.0,
    "alpha": 0.995,
    "deployed_alpha": None,
    "sdn_samples": 5,
    "critics": 1,
    "target_alpha": 0.0,
    "layer_norm": False,
    "normalize_observations": False,
    "advantage_scaling": False,
    "entropy_target": None,
    "entropy_target_final": None,
    "segment_length": 50,
    "replay_ratio": 4.0,
    "poisson": True,
    "replay_size": 16 * 5_000,
}
TRUST_A3C = {"estimator": "a3c", "on_policy": True, "replay_size": 16 * 50}
TRUST_TIS = {"estimator": "tis"}
CHANGES = {
    "a3c": TRUST_A3C | {"trust_region": False},
    "trust_a3c": TRUST_A3C,
    "tis": TRUST_TIS | {"trust_region": False},
    "trust_tis": TRUST_TIS,
    "paper_no_trust_region": {"trust_region": False},
    "paper_no_sdn": {"sdn_samples": 0},
    "paper_no_retrace": {"trace_lambda": 0.0},
    "paper_no_truncation": {"c": math.inf, "correction": "none"},
}


def preset(name, task="dmc/cheetah-run"):
    config = composed_train(f"task={task}", f"learner={name}", "run_dir=new")
    check_train(config)
    assert config.num_envs == 16  # which the replay sizes count on
    return dataclasses.asdict(config.learner)


@pytest.mark.parametrize("task", ["dmc/cheetah-run", "halfcheetah", "walker2d"])
def test_paper_has_the_settings_of_the_paper(task):
    settings = preset("paper", task)
    assert {name: settings[name] for name in PAPER} == PAPER
    assert 1e-4 <= settings["lr"] <= 5e-4


@pytest.mark.parametrize("name", CHANGES)
def test_ablation_changes_what_it_names_alone(name):
    paper, settings = preset("paper"), preset(name)
    assert {k: v for k, v in settings.items() if v != paper[k]} == CHANGES[name]


def test_every_preset_is_tested():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"acer", "paper", *CHANGES}


def test_default_narrows_its_noise_late():
    narrow = {"std_min": 0.3, "std_min_final": 0.1, "entropy_target": -1.0, "entropy_target_final": -2.0}
    fall = {"annealing_start": 300_000, "annealing_updates": 100_000, "lr": 6e-4}
    settings = preset("acer", "walker2d")
    assert {name: settings[name] for name in narrow | fall} == narrow | fall
    narrow = {"std_min": 0.3, "std_min_final": None, "entropy_target": 0.0, "entropy_target_final": -1.0}
    fall = {"annealing_start": 150_000, "annealing_updates": 150_000, "lr": 1e-4}
    assert preset("acer", "halfcheetah")["annealing_start"] == 100_000
    settings = preset("acer", "dmc/fish-swim")
    assert {name: settings[name] for name in narrow | fall} == narrow | fall


def test_a_baseline_without_a_q_refuses_what_needs_one():
    config = composed_train("learner=tis", "learner.entropy_target=-1", "run_dir=new")
    with pytest.raises(ValueError, match=r"learner\.estimator=tis has no entropy term"):
        check_train(config)


@pytest.mark.parametrize(
    ("experiment", "run"),
    [
        ("paper", Run("dmc/walker-walk", "trust_tis", 2, 100_000)),
        ("paper", paper.plan(100_000, [0], ["dmc/cheetah-run"], ["paper"])[-1]),
        ("learning", learning.plan(300_000, [0], ["walker2d"], ["acer"])[0]),
    ],
)
def test_experiment_is_the_run_of_its_benchmark(experiment, run):
    """A published row's command and its preset compose to the same options but for what a table has no use for."""
    command = run.arguments()[2:]
    choice = [f"task={run.task}", f"learner={run.learner}", f"seed={run.seed}"]
    preset = composed_train(
        f"experiment={experiment}", *choice, "run_dir=new", "wandb.mode=disabled", "video=false"
    )
    assert preset == composed_train(*command, "run_dir=new")


def test_the_longer_experiment_is_the_row_with_a_long_start():
    former = ("learner.embedding=0", "learner.sdn_samples=5", "learner.sdn_antithetic=false")
    overrides = (
        "num_envs=4",
        "learner.learning_starts=10000",
        *former,
        "learner.annealing_start=300000",
        "learner.priority_exponent=0",
        "learner.policy_every=1",
    )
    row = learning.plan(300_000, [1], ["halfcheetah"], ["acer"], overrides)[0].arguments()[2:]
    for_a_table = ("hand_over=false", "video=false", "wandb.mode=disabled", "learner.compile=true")
    preset = composed_train("experiment=halfcheetah_300k", "seed=1", "run_dir=new", *for_a_table)
    assert preset == composed_train(*row, "run_dir=new")


def test_the_walking_experiment_takes_any_legged_robot():
    config = composed_train("experiment=walking", "task=robot/go1", "task.velocity=[0.5,0,0]", "run_dir=new")
    assert config.task.id == "go1-velocity"
    updates = (
        config.steps * config.learner.replay_ratio / (config.learner.segments * config.learner.segment_length)
    )
    quiet_from = config.learner.annealing_start + config.learner.annealing_updates
    assert quiet_from < updates / 3  # most of the run learns with the noise that it ends with
