"""The paper as pure functions of tensors, time-major [T, B]; this package imports torch alone.

Wang, Bapst, Heess, Mnih, Munos, Kavukcuoglu, de Freitas: *Sample Efficient Actor-Critic with Experience Replay*,
ICLR 2017, arXiv:1611.01224v2, section 5 and Algorithm 3.
"""

from acer_robot.acer.dueling import stochastic_dueling_q, with_opposites
from acer_robot.acer.ensemble import combine, combine_gradient
from acer_robot.acer.gaussian import (
    gaussian_kl,
    gaussian_kl_gradient,
    gaussian_log_prob,
    gaussian_log_prob_gradient,
)
from acer_robot.acer.policy_gradient import correction_slope, truncated_policy_gradient
from acer_robot.acer.returns import (
    importance_log_ratio,
    off_policy_returns,
    trace_coefficients,
    truncated_segment_weights,
    value_target,
)
from acer_robot.acer.squash import gaussian_entropy, log_squash_slope, squash_slopes
from acer_robot.acer.trust_region import trust_region_projection

__all__ = [
    "combine",
    "combine_gradient",
    "correction_slope",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_kl_gradient",
    "gaussian_log_prob",
    "gaussian_log_prob_gradient",
    "importance_log_ratio",
    "log_squash_slope",
    "off_policy_returns",
    "squash_slopes",
    "stochastic_dueling_q",
    "trace_coefficients",
    "truncated_policy_gradient",
    "truncated_segment_weights",
    "trust_region_projection",
    "value_target",
    "with_opposites",
]
