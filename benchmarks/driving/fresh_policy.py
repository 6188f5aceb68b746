"""Exported policies with random weights: what a decision takes, and where its bounds lie, needs no training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from acer_robot.deployment.export import describe
from acer_robot.policies.build import build_actor
from acer_robot.policies.exported.file import save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.provenance import package_versions
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.spec import ActionBounds, ObservationField, TaskSpec
from acer_robot.tasks import make_task

OBSERVATIONS = 17


def fresh_run(
    low: tuple[float, ...] = (-1.0,) * 6,
    high: tuple[float, ...] = (1.0,) * 6,
    learner: LearnerConfig | None = None,
    slew_rate: tuple[float | None, ...] = (),
    low_pass_hz: float | None = None,
    observes_last_command: bool = False,
) -> TrainedRun:
    """Return an untrained policy with random weights and statistics, 2x256 unless `learner` says otherwise."""
    learner = learner or LearnerConfig()
    torch.manual_seed(0)
    joints = tuple(f"joint{i}" for i in range(len(low)))
    fields = (ObservationField("observation", 0, OBSERVATIONS, ""),)
    spec = TaskSpec(
        "benchmark/robot",
        fields,
        ActionBounds(joints, low, high),
        0.05,
        5,
        1,
        1000,
        (),
        slew_rate,
        low_pass_hz,
        observes_last_command=observes_last_command,
    )
    width = spec.input_size
    normalizer = ObservationNormalizer(width, learner.normalize_observations)
    normalizer.update(torch.randn(1000, width) * torch.linspace(0.1, 10.0, width) + 0.5)
    actor = build_actor(learner, width, len(low))
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    policy = Policy(normalizer, actor).eval().requires_grad_(False)
    config = TrainConfig(
        task=TaskConfig(suite="gymnasium", id="robot"), learner=learner, run_dir="runs/benchmark"
    )
    return TrainedRun(policy, config, spec, 0)


def export(run: TrainedRun, folder: Path) -> Path:
    """Write policy.pt into `folder`."""
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), folder / "policy.pt")
    return folder / "policy.pt"


def export_halfcheetah(folder: Path, options: dict[str, Any], name: str) -> Path:
    """Write NAME.pt with random weights, which use the whole range of commands, for HalfCheetah-v5 with options."""
    config = TaskConfig("gymnasium", "HalfCheetah-v5", **options)
    task = make_task(config, 1, 0)
    spec = task.spec
    task.close()
    learner, width = LearnerConfig(hidden=[32, 32]), spec.input_size
    generator = torch.Generator().manual_seed(0)
    normalizer = ObservationNormalizer(width, True)
    normalizer.update(3.0 * torch.randn(1000, width, generator=generator))
    torch.manual_seed(0)
    actor = build_actor(learner, width, spec.action_size)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    policy = Policy(normalizer, actor).eval().requires_grad_(False)
    run = TrainedRun(policy, TrainConfig(task=config, learner=learner, run_dir="runs/drill"), spec, 0)
    path = folder / f"{name}.pt"
    save_exported(ExportedPolicy(policy, spec), describe(run), path)
    return path


def machine() -> str:
    """Return processor, cores, load and versions in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = package_versions()
    names = ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{model}, {os.cpu_count()} cores, load averages {load} (what else runs); {names}"
