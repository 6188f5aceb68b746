"""Checkpoints: written atomically, read without executing pickled code."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acer_robot.errors import InputError
from acer_robot.learner.anneal import std_min_after
from acer_robot.policies.build import build_actor
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig, WandbConfig, check_choice
from acer_robot.spec import TaskSpec

FORMAT = 2
CHECKPOINTS = ("latest", "best")
"""The end of the run, and where the average policy's evaluation was highest."""


RETIRED: dict[str, dict[str, Any]] = {
    "train": {"stagger": False, "quiet_envs": 0, "quiet_noise": 0.2, "quiet_start": 0},
    "learner": {
        "advantage_return": "qopc",
        "pathwise": 0.0,
        "lr_final": None,
        "lr_annealing_start": 500_000,
        "lr_annealing_updates": 300_000,
        "max_grad_norm": None,
    },
}
"""Options of former versions with their neutral values. They matter to training alone, so a checkpoint that has
another value can still be evaluated and exported."""


@dataclass(frozen=True)
class TrainedRun:
    """What a run folder's checkpoint holds for those who use its policy."""

    policy: Policy
    """The average policy, on the CPU, in evaluation mode."""
    config: TrainConfig
    spec: TaskSpec
    steps: int
    """Environment steps of training."""


def save_checkpoint(
    run_dir: Path, state: dict[str, Any], config: TrainConfig, spec: TaskSpec, steps: int, name: str
) -> Path:
    """Write `checkpoints/<name>.pt` so that a crash half-way leaves the previous one untouched.

    Args:
        run_dir: the run folder.
        state: `Learner.checkpoint_state()`.
        config: options of the run.
        spec: the task's spec.
        steps: environment steps so far.
        name: which of CHECKPOINTS it is.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    path = run_dir / "checkpoints" / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "steps": steps,
        "config": dataclasses.asdict(config),
        "spec": spec.to_dict(),
        "learner": state,
    }
    # Through memory: where the disk is full, torch's own writer hides the reason behind another error.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(buffer.getbuffer())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)  # what is cut off would take the room of the next one
    return path


def read_checkpoint(run_dir: Path, name: str = "latest") -> dict[str, Any]:
    """Read `checkpoints/<name>.pt` of a run folder with `weights_only=True`.

    Raises:
        InputError: if `name` is unknown, there is no such file, or it is not a checkpoint of this format.
    """
    check_choice("checkpoint", name, CHECKPOINTS)
    path = run_dir / "checkpoints" / f"{name}.pt"
    if not path.is_file():
        others = [other for other in CHECKPOINTS if path.with_name(f"{other}.pt").is_file()]
        remedy = (
            f"give checkpoint={others[0]}, which it has" if others else "give the folder of a training run"
        )
        raise InputError(f"{run_dir} has no checkpoint: {path} does not exist; {remedy}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of format {FORMAT}, which this version reads")
    return content


def load_run(run_dir: Path, checkpoint: str = "latest") -> TrainedRun:
    """Return the average policy of a run folder's checkpoint with everything needed to use it.

    Raises:
        InputError: if there is no readable checkpoint of that name.
    """
    content = read_checkpoint(run_dir, checkpoint)
    config, spec = config_from_dict(content["config"]), TaskSpec.from_dict(content["spec"])
    modules = content["learner"]["modules"]
    normalizer = ObservationNormalizer(spec.observation_size, config.learner.normalize_observations)
    actor = build_actor(config.learner, spec.observation_size, spec.action_size)
    normalizer.load_state_dict(_under(modules, "normalizer."))
    actor.load_state_dict(_under(modules, "deployed_actor."))
    if config.learner.std_min_final is not None:
        actor.set_std_min(std_min_after(config.learner, content["learner"]["updates"]))
    policy = Policy(normalizer, actor).eval().requires_grad_(False)
    return TrainedRun(policy, config, spec, content["steps"])


def config_from_dict(data: dict[str, Any]) -> TrainConfig:
    """Rebuild a TrainConfig from `dataclasses.asdict`, of this version or a former one.

    Raises:
        InputError: for an option that neither this version nor a former one has.
    """
    parts = {"task": TaskConfig, "learner": LearnerConfig, "wandb": WandbConfig}
    values = {
        name: parts[name](**_known(name, value, parts[name])) if name in parts else value
        for name, value in data.items()
    }
    return TrainConfig(**_known("train", values, TrainConfig))


def _known(group: str, values: dict[str, Any], schema: type[Any]) -> dict[str, Any]:
    """Return `values` without the retired options of `group`, or raise InputError for an unknown one."""
    known = {field.name for field in dataclasses.fields(schema)}
    if unknown := values.keys() - known - RETIRED.get(group, {}).keys():
        raise InputError(
            f"the checkpoint has the option {', '.join(sorted(unknown))} of {group}, which this version does not "
            "know; use the version that wrote it"
        )
    return {name: value for name, value in values.items() if name in known}


def _under(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
