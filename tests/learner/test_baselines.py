"""The paper's baselines: A3C and TIS against their loops, and the weight of the rest of a segment."""

import math

import pytest
import reference
import torch
from learner_cases import make_learner, paper_config, random_batch
from plain_networks import PlainNetworks, ascent_of, assert_all_close, segment

from acer_robot.acer import truncated_segment_weights

LENGTH, SEGMENTS = 7, 4


@pytest.mark.parametrize("learned_std", [False, True], ids=["fixed std", "learned std"])
@pytest.mark.parametrize("trust_region", [False, True], ids=["", "trust"])
@pytest.mark.parametrize("estimator", ["a3c", "tis"])
def test_the_baselines_are_their_loops(estimator, trust_region, learned_std):
    config = paper_config(
        learned_std, estimator=estimator, trust_region=trust_region, c=1.5, delta=0.2, squash="clip"
    )
    learner = make_learner(config, 3)
    networks = PlainNetworks(learner)
    batch = random_batch(learner, LENGTH, SEGMENTS, seed=7)
    seen = learner.update(batch)
    settings = reference.Settings(gamma=config.gamma, c=config.c, delta=config.delta)
    totals = None
    for b in range(SEGMENTS):
        d_theta, d_theta_v = reference.accumulate_k_step_gradients(
            segment(batch, b), networks.models(), settings, estimator == "tis", trust_region
        )
        gradients = [*d_theta, *d_theta_v]
        totals = gradients if totals is None else [x + y for x, y in zip(totals, gradients, strict=True)]
    assert_all_close(
        ascent_of(learner),
        [total / batch.rewards.numel() for total in totals],
    )
    assert ((seen.z != seen.ascent.g).any(-1).any()) == trust_region
    if estimator == "tis":  # weights at the limit, above 1 and below 1
        weights = seen.ascent.traces
        assert (weights == config.c).any()
        assert (weights < 1.0).any()


def test_segment_weight_is_the_product_to_the_episodes_end():
    rho = torch.tensor([[2.0, 0.5], [0.25, 4.0], [3.0, 4.0], [0.5, 1.0]])
    continues = torch.tensor([[True, True], [False, True], [True, True], [True, True]])
    expected = torch.tensor([[0.5, 5.0], [0.25, 5.0], [1.5, 4.0], [0.5, 1.0]])
    weights = truncated_segment_weights(rho.log(), continues, truncation=5.0)
    torch.testing.assert_close(weights, expected)


def test_segment_weights_of_tiny_and_huge_products_stay_finite():
    log_rho = torch.full((50, 2), 20.0) * torch.tensor([1.0, -1.0])
    continues = torch.ones(50, 2, dtype=torch.bool)
    for truncation in (5.0, math.inf):
        weights = truncated_segment_weights(log_rho, continues, truncation)
        assert weights.isfinite().all()
        assert weights[0, 1] == 0.0
    assert (truncated_segment_weights(log_rho, continues, 5.0)[:, 0] <= 5.0).all()


def test_segment_weights_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="equal shapes"):
        truncated_segment_weights(torch.zeros(3, 2), torch.ones(3, 1, dtype=torch.bool), 5.0)
    with pytest.raises(ValueError, match="T, B"):
        truncated_segment_weights(torch.zeros(3), torch.ones(3, dtype=torch.bool), 5.0)
    with pytest.raises(ValueError, match="c > 0, got 0"):
        truncated_segment_weights(torch.zeros(3, 2), torch.ones(3, 2, dtype=torch.bool), 0.0)
