"""Discounted returns of present episodes, against a loop."""

import numpy as np
import pytest
import torch

from acer_robot.experience.discounted import DiscountedReturns
from acer_robot.policies.normalizer import ObservationNormalizer


def test_statistics_are_those_of_a_loop_that_resets_at_ends():
    generator = np.random.default_rng(0)
    rewards, ended = generator.normal(1.0, 2.0, (200, 3)), generator.random((200, 3)) < 0.1
    statistics = ObservationNormalizer(1).double()
    discounted = DiscountedReturns(statistics, 0.9, 3)
    seen, returns = [], np.zeros(3)
    for reward, end in zip(rewards, ended, strict=True):
        discounted.add(torch.from_numpy(reward), torch.from_numpy(end))
        returns = 0.9 * returns + reward
        seen.extend(returns)
        returns = np.where(end, 0.0, returns)
    assert float(statistics.variance[0]) == pytest.approx(np.var(seen), rel=1e-9)
    assert float(statistics.mean[0]) == pytest.approx(np.mean(seen), rel=1e-9)
    np.testing.assert_allclose(discounted.state().numpy(), returns)


def test_restored_returns_go_on():
    first, second = (DiscountedReturns(ObservationNormalizer(1), 0.9, 2) for _ in range(2))
    first.add(torch.tensor([1.0, 2.0]), torch.tensor([False, True]))
    second.restore(first.state())
    second.add(torch.tensor([1.0, 1.0]), torch.tensor([False, False]))
    torch.testing.assert_close(second.state(), torch.tensor([1.9, 1.0]))
