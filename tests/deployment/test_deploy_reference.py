"""The training-side commands that an exported file is compared with, where float32 comes to its ends."""

import numpy as np
import pytest
import torch
from exported import make_policy, make_run, quick_export

from acer_robot.deployment.vectors import float32_rounding

PAPER = {
    "squash": "clip",
    "learned_std": False,
    "std_init": 0.3,
    "mean_bound": None,
    "layer_norm": False,
    "normalize_observations": False,
}


@pytest.mark.usefixtures("checks_in_this_process")
def test_policy_that_overflows_float32_is_exported(tmp_path):
    run = make_run(make_policy(**PAPER), **PAPER)
    overflowing = run.policy.act(torch.full((1, 5), torch.finfo(torch.float32).max))
    assert not torch.isfinite(overflowing).all(), "the test needs a policy that overflows on its own"
    quick_export(run, tmp_path)
    with np.load(tmp_path / "test_vectors.npz") as arrays:
        finite = np.isfinite(arrays["extreme_observations"]).all(axis=1)
        expected = run.policy.act(torch.from_numpy(arrays["extreme_observations"]).clamp(-1e9, 1e9))
        expected = run.spec.bounds.to_command(expected.double().numpy())
        np.testing.assert_allclose(arrays["extreme_commands"][finite], expected[finite], atol=1e-5)
        assert np.isfinite(arrays["extreme_commands"]).all()


def test_rounding_is_granted_to_large_raw_observations_alone():
    rows = np.array([[1.0] * 5, [1e6] * 5, [np.nan] * 5, [np.inf] * 5], np.float32)
    raw = make_run(make_policy(**PAPER), **PAPER)
    raw.policy.actor.head.weight.mul_(1e-7)  # so that 1e6 saturates nothing
    raw.policy.actor.head.bias.zero_()
    granted = float32_rounding(raw, rows).max(axis=1)
    assert 0.0 < granted[1] < 1e-5
    assert granted[0] < granted[1] / 100
    assert granted[2:].tolist() == [0.0, 0.0]
    assert float32_rounding(make_run(make_policy()), rows).max() < 1e-5
