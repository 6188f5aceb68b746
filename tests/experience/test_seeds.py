"""Streams of one run do not share their random numbers."""

import dataclasses

import numpy as np
import torch

from acer_robot.experience.seeds import independent_seeds


def test_streams_differ_within_a_run_and_between_runs():
    seeds = [value for seed in range(20) for value in dataclasses.astuple(independent_seeds(seed))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= value < 2**31 for value in seeds)


def test_exploration_noise_is_not_the_updates_noise():
    seeds = independent_seeds(0)
    exploration, replay = (
        torch.randn(1000, generator=torch.Generator().manual_seed(s)).numpy()
        for s in (seeds.exploration, seeds.replay)
    )
    assert abs(np.corrcoef(exploration, replay)[0, 1]) < 0.1
