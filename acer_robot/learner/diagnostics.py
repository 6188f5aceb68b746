"""What is logged about an update: every number with its formula, and the check that all of them are finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acer_robot.acer import gaussian_kl
from acer_robot.errors import NonFiniteError
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.gradients import Diagnostics, embedding_loss
from acer_robot.learner.learner import Learner
from acer_robot.metrics import EMBEDDING


@torch.no_grad()
def summarise(seen: Diagnostics, learner: Learner, step: int) -> dict[str, float]:
    """Reduce the diagnostics of the last update, at environment step `step`, with one transfer from the device.

    Without an embedding its numbers are NaN, so that every metrics.csv has the same columns.

    Raises:
        NonFiniteError: naming the step and the first metric that is NaN or infinite.
    """
    config, ascent = learner.config, seen.ascent
    moment = learner.advantage_moment
    values = {
        "loss/q": ascent.loss_q,
        "loss/v": ascent.loss_v,
        "loss/error": ascent.error.mean(),
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
    if seen.prediction is not None:
        z, next_z = seen.prediction.z, seen.prediction.next_z
        values |= {
            "loss/embedding": embedding_loss(seen.prediction),
            "embedding/unchanged": (z - next_z).square().mean(),
            "embedding/std": z.flatten(0, -2).std(0, correction=0).mean(),
        }
    numbers = dict(zip(values, torch.stack([v.float() for v in values.values()]).tolist(), strict=True))
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise NonFiniteError(f"{name} is {number} at environment step {step}")
    return dict.fromkeys(EMBEDDING, math.nan) | numbers


@torch.no_grad()
def non_finite(learner: Learner) -> list[str]:
    """Return the names of the learner's parameters, averages, statistics and moments that hold NaN or infinity."""
    values = dict(learner.state_dict())
    optimizers = {"optimizer": learner.optimizer}
    if learner.embeddings is not None:
        optimizers["embedding_optimizer"] = learner.embeddings.optimizer
    for of, optimizer in optimizers.items():
        for place, moments in enumerate(optimizer.state.values()):
            values |= {f"{of}.{place}.{name}": value for name, value in moments.items()}
    names = [name for name, value in values.items() if value.is_floating_point()]
    if not names:
        return []
    device = learner.advantage_moment.device
    flags = torch.stack([values[name].isfinite().all().to(device) for name in names]).tolist()
    return [name for name, is_finite in zip(names, flags, strict=True) if not is_finite]


def check_finite(learner: Learner, step: int) -> None:
    """Raise NonFiniteError, naming a part, if the learner holds NaN or infinity."""
    if names := non_finite(learner):
        raise NonFiniteError(f"the learner's {names[0]} is not finite at environment step {step}")


@torch.no_grad()
def distributions(learner: Learner, batch: Trajectory) -> dict[str, list[float]]:
    """Return what histograms are made of: the canonical actions of each joint, "action/0" and on, and "advantage".

    The advantage is A(x, a) of the critics' heads at the batch's actions, their mean. Nothing here is random, and the
    learner is as it was.
    """
    actions = learner.actor.squash(batch.actions)
    numbers = {
        f"action/{joint}": actions[..., joint].flatten().tolist() for joint in range(actions.shape[-1])
    }
    if learner.config.estimator == "acer":  # the baselines train no head of advantages
        critic, x, inputs = learner.critic, learner.normalizer(batch.observations), actions.unsqueeze(0)
        if learner.embeddings is not None:
            x, inputs, _ = learner.embeddings.of_critic.critic_inputs(x, inputs)
        advantages = critic.advantage(critic.state_part(critic.features(x)), inputs)
        numbers["advantage"] = advantages.mean((0, 1)).flatten().tolist()
    return numbers


def _norm(gradient: Tensor | None) -> Tensor:
    if gradient is None:
        raise ValueError("no update was done yet, so there is no gradient to summarise")
    norm: Tensor = gradient.norm()
    return norm
