"""What is logged about an update: every number with its formula, and the check that all of them are finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acer_robot.acer import gaussian_kl
from acer_robot.errors import NonFiniteError
from acer_robot.estimates import Diagnostics
from acer_robot.learner import Learner

FORMULAS = {
    "loss/q": "mean of 1/2 (Qret - Q~)^2, summed over critics",
    "loss/v": "mean of 1/2 (V_target - V)^2, summed over critics",
    "acer/rho_median": "median of rho = pi(a|x) / mu(a|x) over replayed states",
    "acer/trace_mean": "mean of the trace lambda min(1, rho^(1/d)); of the weight of a state for estimator tis and a3c",
    "acer/correction_active": "share of states with rho' > c",
    "acer/trust_region_active": "share of states where the projection changed g",
    "acer/kl_to_average": "mean of KL[average || current] in nats",
    "acer/std": "mean of the pre-squash standard deviation",
    "acer/entropy": "mean entropy of the squashed action, nats per joint",
    "acer/temperature": "weight of the entropy in g",
    "acer/advantage_scale": "running root mean square of Qopc - V, in units of reward",
    "acer/v_mean": "mean of V(x) over replayed states",
    "grad/norm_policy": "Euclidean norm of the actor's gradient",
    "grad/norm_critic": "Euclidean norm of the critics' gradient",
}
"""Metric name -> formula; `summarise` returns exactly these."""


@torch.no_grad()
def summarise(seen: Diagnostics, learner: Learner, step: int) -> dict[str, float]:
    """Reduce the diagnostics of the last update, at environment step `step`, with one transfer from the device.

    Raises:
        NonFiniteError: naming the step and the first metric that is NaN or infinite.
    """
    config, ascent = learner.config, seen.ascent
    moment = learner.advantage_moment
    values = {
        "loss/q": ascent.loss_q,
        "loss/v": ascent.loss_v,
        "acer/rho_median": ascent.log_rho.median().exp(),
        "acer/trace_mean": ascent.traces.mean(),
        "acer/correction_active": (ascent.log_rho_sampled > math.log(max(config.c, 1e-30))).float().mean(),
        "acer/trust_region_active": (seen.z != ascent.g).any(-1).float().mean(),
        "acer/kl_to_average": gaussian_kl(*seen.phi_average, *seen.phi).mean(),
        "acer/std": seen.phi[1].exp().mean(),
        "acer/entropy": ascent.entropy.mean() / learner.action_size,
        "acer/temperature": learner.log_temperature.exp(),
        "acer/advantage_scale": (moment[0] / moment[1].clamp_min(1e-30)).sqrt(),
        "acer/v_mean": ascent.v.mean(),
        "grad/norm_policy": _norm(learner.flat_actor.values.grad),
        "grad/norm_critic": _norm(learner.flat_critic.values.grad),
    }
    numbers = dict(zip(values, torch.stack([v.float() for v in values.values()]).tolist(), strict=True))
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise NonFiniteError(f"{name} is {number} at environment step {step}")
    return numbers


def _norm(gradient: Tensor | None) -> Tensor:
    if gradient is None:
        raise ValueError("no update was done yet, so there is no gradient to summarise")
    norm: Tensor = gradient.norm()
    return norm
