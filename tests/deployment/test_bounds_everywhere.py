"""Per-joint limits are the same for task, learner and exported file: what the simulator received from each."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from exported import quick_export
from scripted_envs import ScriptedEnv

from acer_robot.experience.episodes import deterministic, run_episodes
from acer_robot.policies.exported.file import load_exported
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig, WandbConfig
from acer_robot.tasks import make_task
from acer_robot.training.run import prepare

BOUNDS = {
    "asymmetric": (-0.3, 0.7),
    "one bound zero": (0.0, 0.5),
    "tiny": (0.1, 0.1 + 1e-7),
    "equal": (0.2, 0.2),
    "slow": (-0.9, 0.4),
}
LENGTH, ENVS = 25, 3
SLEW_RATE = 4.0  # units per second, at 50 commands per second
STEP = SLEW_RATE / 50


@pytest.fixture(scope="module")
def run():
    """A learner after a few hundred steps and updates; ScriptedEnv.made[:ENVS] are its environments."""
    ScriptedEnv.made.clear()
    bounds = {f"action_{i}": list(pair) for i, pair in enumerate(BOUNDS.values())}
    kwargs = {"length": LENGTH, "low": [-1.0] * len(BOUNDS), "high": [1.0] * len(BOUNDS)}
    task = TaskConfig(
        "gymnasium", "scripted_envs:Scripted-v0", kwargs, bounds=bounds, slew_rate={"action_4": SLEW_RATE}
    )
    learner = LearnerConfig(
        hidden=[16], advantage_hidden=8, segment_length=4, learning_starts=50, compile=False
    )
    config = TrainConfig(
        task, learner, wandb=WandbConfig("disabled"), run_dir="unused", num_envs=ENVS, threads=1
    )
    run = prepare(config)
    for _ in range(4 * LENGTH):
        run.collector.step()
        if run.collector.transitions > 50:
            run.learner.update(run.replay.sample(4))
    run.task.close()
    run.evaluation_task.close()
    return run


@pytest.fixture(scope="module")
def trained(run):
    """The learner's exported policy, made bold, and with a low-pass: filtered twice, its commands would change."""
    policy = copy.deepcopy(run.learner.exported_policy).eval().requires_grad_(False)
    policy.actor.head.weight.mul_(300.0)
    config = dataclasses.replace(run.config, task=dataclasses.replace(run.config.task, low_pass_hz=20.0))
    spec = dataclasses.replace(run.task.spec, low_pass_hz=20.0)
    return TrainedRun(policy, config, spec, run.collector.env_steps)


def recorded(made):
    """Return what each of these environments received, [environments, steps, joints]."""
    return np.stack([env.received for env in made]).astype(np.float64)


def assert_within_limits(received):
    for joint, (low, high) in enumerate(BOUNDS.values()):
        values = received[..., joint]
        rounding = np.spacing(np.float32(0.2)) if low == high else 0.0
        assert (values >= low - rounding).all(), (joint, values.min())
        assert (values <= high + rounding).all(), (joint, values.max())
    episodes = received[..., 4].reshape(-1, LENGTH)
    changes = np.abs(np.diff(episodes, axis=1, prepend=0.0))
    assert (changes <= STEP + 1e-7).all(), changes.max()
    assert changes.max() > 0.9 * STEP, "the slew rate was never at work"
    for joint in (0, 1):
        low, high = list(BOUNDS.values())[joint]
        assert np.ptp(received[..., joint]) > 0.1 * (high - low), "a joint hardly moved"


def test_what_the_simulator_receives_while_learning(run):
    received = recorded(ScriptedEnv.made[:ENVS])
    assert received.shape == (ENVS, 4 * LENGTH, len(BOUNDS))
    assert_within_limits(received)


def test_simulator_gets_bounded_commands_from_the_task(run):
    task = make_task(run.config.task, ENVS, seed=1)
    made, rng = ScriptedEnv.made[-ENVS:], np.random.default_rng(0)
    task.reset()
    for _ in range(4 * LENGTH):
        task.step(torch.as_tensor(10.0 ** rng.integers(-3, 9) * rng.standard_normal((ENVS, len(BOUNDS)))))
    task.close()
    received = recorded(made)
    assert_within_limits(received)
    for joint in (0, 1):
        np.testing.assert_allclose(
            [received[..., joint].min(), received[..., joint].max()], list(BOUNDS.values())[joint], rtol=1e-6
        )


@pytest.mark.usefixtures("checks_in_this_process")
def test_simulator_gets_the_same_from_file_and_policy(trained, tmp_path):
    file = load_exported(quick_export(trained, tmp_path))
    by_policy, by_file = [], []
    for config, act, into in (
        (trained.config.task, None, by_policy),
        (file.task_config, file.act, by_file),
    ):
        task = make_task(config, ENVS, seed=2)
        made = ScriptedEnv.made[-ENVS:]
        for _ in range(2):
            file.reset()
            run_episodes(act or deterministic(trained.policy, task), task)
        task.close()
        into.append(recorded(made))
    assert by_file[0].shape == (ENVS, 2 * LENGTH, len(BOUNDS))
    assert_within_limits(by_policy[0])
    assert_within_limits(by_file[0])
    np.testing.assert_allclose(by_file[0], by_policy[0], atol=1e-5)
