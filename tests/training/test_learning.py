"""A whole run learns: a learner that learns nothing must turn this file red."""

import numpy as np
import pytest

from acer_robot.experience.episodes import deterministic, run_episodes
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig, WandbConfig
from acer_robot.training.run import learn, prepare

STEPS = 10_000
THRESHOLD = 500.0
"""Mean length for which the pole must stay up. Five seeds of five reach 1,000, the time limit; an untrained policy, and
one whose learning rate is 1e-9, keep it up for less than 50."""


def balanced(tmp_path, steps=STEPS, lr=6e-4, seed=0):
    """Train the default learner with small networks on InvertedPendulum; return the exported policy's mean return."""
    learner = LearnerConfig(
        hidden=[32, 32],
        advantage_hidden=32,
        segments=8,
        replay_ratio=32.0,
        learning_starts=400,
        deployed_alpha=0.99,  # the default's 0.9998 averages over more updates than this run has
        lr=lr,
        compile=False,
    )
    config = TrainConfig(
        task=TaskConfig("gymnasium", "InvertedPendulum-v5"),
        learner=learner,
        wandb=WandbConfig("disabled"),
        run_dir=str(tmp_path),
        steps=steps,
        seed=seed,
        num_envs=8,
        eval_every=10 * STEPS,
    )
    run = prepare(config)
    try:
        with RunLogger(tmp_path, config.wandb, {}, steps) as log:
            learn(run, log)
        act = deterministic(run.learner.exported_policy, run.evaluation_task)
        return float(run_episodes(act, run.evaluation_task).returns.mean())
    finally:
        run.task.close()
        run.evaluation_task.close()


@pytest.mark.slow
def test_the_default_learner_balances_a_pole(tmp_path):
    assert balanced(tmp_path) > THRESHOLD


@pytest.mark.slow
def test_without_learning_the_pole_falls(tmp_path):
    """The threshold means something: a learning rate of almost 0 stays far below it."""
    returned = balanced(tmp_path, steps=2_000, lr=1e-9)
    assert np.isfinite(returned)
    assert returned < 0.2 * THRESHOLD
