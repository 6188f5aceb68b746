"""A learner of HalfCheetah-v5's sizes and a replay with random contents: an update's time depends on sizes alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rows.runs import ROOT

from acer_robot.errors import InputError, first_line
from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.compiler import obstacle
from acer_robot.learner.learner import Learner
from acer_robot.learner.precision import choose_precision
from acer_robot.schema import LearnerConfig

OBSERVATIONS, JOINTS, ENVIRONMENTS, STEPS = 17, 6, 16, 1000
"""The sizes of HalfCheetah-v5, the default's environments, and steps of each in the replay."""


def learner_options(words: Sequence[str]) -> LearnerConfig:
    """Return the learner's options from words such as "learner.embedding=64", as acer-train takes them.

    Raises:
        InputError: if a word is no such option.
    """
    for word in words:
        if not word.startswith("learner.") or "=" not in word:
            raise InputError(f"{word!r} is no option of the learner; write it as learner.embedding=64")
    try:
        given = OmegaConf.from_dotlist([word.removeprefix("learner.") for word in words])
        options = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(LearnerConfig), given))
    except OmegaConfBaseException as error:
        raise InputError(f"{' '.join(words)}: {first_line(error)}; see acer-train --help") from None
    assert isinstance(options, LearnerConfig)
    return options


def family_options(family: str) -> list[str]:
    """Return the learner's options in configs/family as words for `learner_options`."""
    learner = OmegaConf.load(ROOT / "configs" / "family" / f"{family}.yaml").learner
    return [f"learner.{name}={value}" for name, value in learner.items()]


def can_compile(device: torch.device) -> bool:
    """Return whether the update can be compiled; a line says why if not."""
    reason = None if device.type == "cuda" else obstacle()
    if reason is not None:
        print(f"updates are not compiled; that needs {reason}", flush=True)
    return reason is None


def precisions(device: torch.device) -> list[str]:
    """Return what `learner.precision` can be on this machine; a line says why each other one cannot."""
    found = []
    for name in ("float32", "onednn", "bf16"):
        try:
            found.append(choose_precision(name, device))
        except InputError as error:
            print(f"left out: {error}", flush=True)
    return found


def fresh_learner(options: LearnerConfig, device: torch.device) -> Learner:
    """Return an untrained learner; one process may compile many of them, each for itself."""
    from torch._dynamo import config as dynamo

    dynamo.recompile_limit = 1000
    return Learner(options, OBSERVATIONS, JOINTS, device)


def filled_replay(options: LearnerConfig, device: torch.device, steps: int = STEPS) -> Replay:
    """Return a replay with random contents, which draws segments as the options say."""
    replay = Replay(
        steps * ENVIRONMENTS,
        ENVIRONMENTS,
        OBSERVATIONS,
        JOINTS,
        options.segment_length,
        device,
        priority_exponent=options.priority_exponent,
    )

    def normal(*shape: int):
        return torch.randn(ENVIRONMENTS, *shape, device=device)

    for _ in range(steps):
        ends = torch.rand(ENVIRONMENTS, device=device) < 0.001
        std = torch.full((ENVIRONMENTS, JOINTS), -0.7, device=device)
        observations, successors, actions = normal(OBSERVATIONS), normal(OBSERVATIONS), 0.5 * normal(JOINTS)
        replay.add(
            Trajectory(observations, successors, actions, normal(), ends, ends, torch.zeros_like(std), std)
        )
    return replay
