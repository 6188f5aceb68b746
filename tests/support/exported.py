"""Policies with weights and statistics that are not trivial, and runs around them."""

from functools import partial

import numpy as np
import torch

from acer_robot.deployment.export import export_policy
from acer_robot.policies.build import build_actor
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.spec import ActionBounds, ObservationField, TaskSpec

quick_export = partial(export_policy, fuzzed_rows=1_000)
"""An export with every check, and fewer random observations than a user's."""


def make_policy(width=5, joints=4, seed=0, **learner):
    """A policy whose commands cover the range and whose statistics span six powers of ten."""
    generator = torch.Generator().manual_seed(seed)
    config = LearnerConfig(**{"hidden": [32, 24], **learner})
    normalizer = ObservationNormalizer(width, config.normalize_observations)
    scale = torch.logspace(-3, 3, width)
    normalizer.update((torch.randn(200, width, generator=generator) + 3.0) * scale)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        actor = build_actor(config, width, joints)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return Policy(normalizer, actor).eval().requires_grad_(False)


def make_bounds(low=(-1.0, -0.25, 0.0, -3.0), high=(1.0, 2.0, 0.7, -1.0)):
    return ActionBounds(tuple(f"joint{i}" for i in range(len(low))), tuple(low), tuple(high))


def make_run(policy=None, bounds=None, slew_rate=(), low_pass_hz=None, observes=False, **learner):
    policy, bounds = policy or make_policy(**learner), bounds or make_bounds()
    width = policy.normalizer.mean.numel() - bounds.size * observes
    fields = (ObservationField("angle", 0, 1, "rad"), ObservationField("rest", 1, width))
    spec = TaskSpec(
        "test/robot",
        fields,
        bounds,
        0.02,
        2,
        1,
        100,
        (("mujoco", "3.17.0"),),
        slew_rate,
        low_pass_hz,
        observes,
    )
    config = TrainConfig(
        task=TaskConfig(suite="gymnasium", id="robot"), learner=LearnerConfig(**learner), run_dir="runs/x"
    )
    return TrainedRun(policy, config, spec, 5000)


def ordinary_observations(policy, rows=64, seed=1):
    draws = np.random.default_rng(seed).standard_normal((rows, policy.normalizer.mean.numel()))
    mean, std = policy.normalizer.mean.numpy(), policy.normalizer.variance.sqrt().numpy()
    return (mean + 2 * std * draws).astype(np.float32)
