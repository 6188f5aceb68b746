"""Streams of one run do not share their random numbers."""

import dataclasses

import torch

from acer_robot.experience.seeds import independent_seeds
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.training.run import prepare


def test_streams_differ_within_a_run_and_between_runs():
    seeds = [value for seed in range(20) for value in dataclasses.astuple(independent_seeds(seed))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= value < 2**31 for value in seeds)


def test_exploration_noise_is_not_the_updates_noise(tmp_path):
    learner = LearnerConfig(hidden=[8], advantage_hidden=4)
    task = TaskConfig("gymnasium", "Pendulum-v1")
    run = prepare(TrainConfig(task, learner, run_dir=str(tmp_path / "run"), num_envs=2, steps=2000))
    generators = (run.learner.generator, run.collector._generator, run.replay._generator)
    first = [torch.randn(8, generator=generator) for generator in generators]
    assert not any(torch.equal(first[i], first[j]) for i in range(3) for j in range(i))
    assert not (run.task.reset()[:2] == run.evaluation_task.reset()[:2]).all()
