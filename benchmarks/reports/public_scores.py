"""Published scores of SAC, to set beside the runs of benchmarks/learning.py."""

from __future__ import annotations

PUBLIC_SOURCE = "median of SAC in the result files of the SimbaV2 repository, commit 358d7246; Gymnasium v4"
PUBLIC: dict[str, dict[int, float]] = {
    "halfcheetah": {100_000: 6056, 300_000: 8546, 1_000_000: 11353},
    "walker2d": {100_000: 753, 300_000: 3268, 1_000_000: 4390},
    "dmc/cheetah-run": {500_000: 578, 1_000_000: 817},
    "dmc/walker-walk": {500_000: 942, 1_000_000: 958},
    "dmc/walker-run": {500_000: 516, 1_000_000: 622},
    "dmc/cartpole-swingup": {500_000: 866},
    "dmc/reacher-hard": {500_000: 966},
    "dmc/fish-swim": {500_000: 487, 1_000_000: 766},
}
"""Public scores by environment step: not run here, for orientation only."""
