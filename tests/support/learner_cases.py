"""Small float64 learners, random segments and fixed noise, for the tests that need a whole update."""

from __future__ import annotations

import dataclasses
import math

import torch

from acer_robot.learner.batch import Trajectory
from acer_robot.learner.learner import Learner
from acer_robot.schema import LearnerConfig

STATE_SIZE = 3


def paper_config(learned_std: bool = False, **changes) -> LearnerConfig:
    """Algorithm 3 and nothing else, with networks small enough for loops."""
    options = {
        "c": 5.0,
        "correction": "score",
        "trace_exponent": 1.0,
        "lr": 3e-4,
        "delta": 0.5,
        "alpha": 0.995,
        "deployed_alpha": None,
        "hidden": [8, 7],
        "advantage_hidden": 6,
        "layer_norm": False,
        "squash": "clip",
        "learned_std": learned_std,
        "std_min_final": None,
        "std_init": 0.3 if not learned_std else 0.5,
        "mean_bound": None,
        "normalize_observations": False,
        "sdn_samples": 5,
        "critics": 1,
        "target_alpha": 0.0,
        "advantage_scaling": False,
        "entropy_target": None,
    }
    return LearnerConfig(**{**options, **changes})


def make_learner(config: LearnerConfig, action_size: int) -> Learner:
    """Return a learner whose networks are far from their tame start: average and current policy differ."""
    learner = Learner(config, STATE_SIZE, action_size, torch.device("cpu"), seed=1, dtype=torch.float64)
    shake(learner.actor, learner.average_actor, learner.critic)
    return learner


def shake(*modules: torch.nn.Module) -> None:
    """Move all parameters away from where they are, each module's in its own way."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise / math.sqrt(parameter.shape[-1]))


def small_learner(device: str = "cpu", dtype: torch.dtype = torch.float64, **options) -> Learner:
    """Return a fresh learner of small networks with the default options but for `options`."""
    config = LearnerConfig(**{"hidden": [16, 16], "advantage_hidden": 8, **options})
    return Learner(config, STATE_SIZE, 2, torch.device(device), seed=1, dtype=dtype)


def gradients_of(learner: Learner) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the gradients that the last update took for actor and critic, parameter by parameter."""
    result = []
    for module, flat in ((learner.actor, learner.flat_actor), (learner.critic, learner.flat_critic)):
        assert flat.values.grad is not None, "no update was done yet"
        shapes = [parameter.shape for parameter in module.parameters()]
        parts = flat.values.grad.split([shape.numel() for shape in shapes])
        result.append([part.view(shape) for part, shape in zip(parts, shapes, strict=True)])
    return result[0], result[1]


def fix_noise(learner: Learner, noise: torch.Tensor) -> None:
    """Make the learner draw `noise` [1 + n, T, B, d] in place of fresh numbers."""

    def sample_noise(*shape: int) -> torch.Tensor:
        assert shape == tuple(noise.shape), f"the learner asked for noise of shape {shape}"
        return noise

    learner.sample_noise = sample_noise  # type: ignore[method-assign]


def random_batch(learner: Learner, length: int, segments: int, seed: int) -> Trajectory:
    """Return segments with terminals, time limits and cuts inside; ratios lie on both sides of 1 and of c."""
    generator = torch.Generator().manual_seed(seed)
    d = learner.action_size

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    observations, fresh = randn(length, segments, STATE_SIZE), randn(length, segments, STATE_SIZE)
    ends = torch.rand(length, segments, generator=generator)
    ends[length // 2, :2] = torch.tensor([0.0, 1.0])  # one of each for certain
    terminated, truncated = ends < 0.15, ends > 0.85
    # Inside an episode the successor is the next row; at its end it is a state of its own, before a reset.
    following = torch.cat([observations[1:], fresh[-1:]])
    next_observations = torch.where((terminated | truncated).unsqueeze(-1), fresh, following)
    with torch.no_grad():
        mean, log_std = learner.actor(learner.normalizer(observations))
    behaviour_mean = mean + 1.5 * log_std.exp() * randn(length, segments, d) / math.sqrt(d)
    behaviour_log_std = log_std + 0.1 * randn(length, segments, d) / math.sqrt(d)
    return Trajectory(
        observations=observations,
        next_observations=next_observations,
        actions=behaviour_mean + behaviour_log_std.exp() * randn(length, segments, d),
        rewards=randn(length, segments),
        terminated=terminated,
        truncated=truncated,
        behaviour_mean=behaviour_mean,
        behaviour_log_std=behaviour_log_std,
    )


def moved_to(batch: Trajectory, device: str) -> Trajectory:
    """Return the same segments on another device."""
    fields = dataclasses.fields(batch)
    return Trajectory(**{field.name: getattr(batch, field.name).to(device) for field in fields})


def random_noise(learner: Learner, batch: Trajectory, seed: int) -> torch.Tensor:
    """Return noise for a' and the n dueling actions [1 + n, T, B, d]."""
    shape = (1 + learner.config.sdn_samples, *batch.actions.shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
