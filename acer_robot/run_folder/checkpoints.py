"""Checkpoints: written atomically, read without executing pickled code."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.learner.anneal import std_min_after
from acer_robot.policies.build import build_actor
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.provenance import UNKNOWN, Software, this_software
from acer_robot.run_folder.layout import CHECKPOINTS
from acer_robot.run_folder.whole_file import sync_folder, write_whole
from acer_robot.schema import (
    CheckpointConfig,
    CollectorConfig,
    LearnerConfig,
    TaskConfig,
    TrainConfig,
    WandbConfig,
    check_choice,
)
from acer_robot.spec import TaskSpec

FORMAT = 2
MOST_KEPT = 1000
"""Largest `checkpoint.keep`."""
PARTS = frozenset({"format", "steps", "config", "spec", "learner"})
SINCE_CHECKSUM = frozenset({"software", "sha256"})
"""Parts of a checkpoint since it has a checksum: a checkpoint of a former version has neither of them."""
FOR_RESUME = frozenset({"resume"})
"""What a run needs to go on; `best` and a run that ended in the middle of a step lack it."""
RESTORE = "restore it from a copy, or use another checkpoint (checkpoint=latest, checkpoint=best)"


RETIRED: dict[str, dict[str, Any]] = {
    "train": {"stagger": False, "quiet_envs": 0, "quiet_noise": 0.2, "quiet_start": 0},
    "learner": {
        "advantage_return": "qopc",
        "pathwise": 0.0,
        "lr_final": None,
        "lr_annealing_start": 500_000,
        "lr_annealing_updates": 300_000,
        "max_grad_norm": None,
        "value_bins": 0,
        "critic_lr": None,
    },
}
"""Options of former versions with their neutral values. They matter to training alone, so a checkpoint that has
another value can still be evaluated and exported, but its run cannot go on."""


@dataclass(frozen=True)
class TrainedRun:
    """What a run folder's checkpoint holds for those who use its policy."""

    policy: Policy
    """The exported policy, on the CPU, in evaluation mode."""
    config: TrainConfig
    spec: TaskSpec
    steps: int
    """Environment steps of training."""
    software: Software = UNKNOWN
    """The code that trained; unknown for checkpoints of former versions."""


def save_checkpoint(
    run_dir: Path,
    state: dict[str, Any],
    config: TrainConfig,
    spec: TaskSpec,
    steps: int,
    name: str,
    software: Software | None = None,
    resume: dict[str, Any] | None = None,
    keep: int | None = None,
) -> Path:
    """Write `checkpoints/<name>.pt` so that a crash half-way leaves the previous one untouched.

    Args:
        run_dir: the run folder.
        state: `Learner.checkpoint_state()`.
        config: options of the run.
        spec: the task's spec.
        steps: environment steps so far.
        name: which of CHECKPOINTS it is.
        software: the code that trains; None: the code that runs now.
        resume: state of everything but the learner, so that the run can go on from here.
        keep: how many of its predecessors are kept, as `<name>.1.pt` (the newest), `<name>.2.pt`, ..; None: the
            present one is replaced, and those before it stay.

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
        "software": dataclasses.asdict(software or this_software()),
        "learner": state,
        **({"resume": resume} if resume is not None else {}),
    }
    content["sha256"] = content_sha256(content)
    # Through memory: where the disk is full, torch's own writer hides the reason behind another error.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    temporary = path.with_name(f"{name}.new")
    try:
        write_whole(temporary, buffer.getbuffer())
        if keep is not None:
            _keep(path, keep)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def former_checkpoints(path: Path) -> dict[Path, int]:
    """Return the former checkpoints that are kept beside `path`, by file, with their numbers: the last has 1.

    A file of another name is the user's own: <name>.200000.pt.
    """
    numbers = {path.with_name(f"{path.stem}.{number}.pt"): number for number in range(1, MOST_KEPT + 1)}
    return {file: numbers[file] for file in path.parent.glob(f"{path.stem}.*.pt") if file in numbers}


def _keep(path: Path, keep: int) -> None:
    """Give the checkpoint at `path` a second name, `<name>.1.pt`, move its predecessors on, and remove the rest."""
    for old, number in former_checkpoints(path).items():
        if number >= max(keep, 1):
            old.unlink()
    if keep == 0 or not path.exists():
        return
    for number in range(keep - 1, 0, -1):
        if (old := path.with_name(f"{path.stem}.{number}.pt")).exists():
            os.replace(old, path.with_name(f"{path.stem}.{number + 1}.pt"))
    first = path.with_name(f"{path.stem}.1.pt")
    first.unlink(missing_ok=True)
    try:
        os.link(path, first)
    except OSError:  # a disk without hard links
        shutil.copyfile(path, first)


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
    return read_content(path)


def read_content(path: Path) -> dict[str, Any]:
    """Read a checkpoint's file with `weights_only=True`.

    Raises:
        InputError: if it is not a whole checkpoint of this format.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path} cannot be read as a checkpoint: it is empty; {RESTORE}")
    try:
        content = load_plain(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds objects that run code when they are "
            "loaded, which a checkpoint of acer-robot never does; do not load it, and restore it from a copy"
        ) from error
    except DAMAGE as error:
        reason = "torch finds no content in it" if "weights_only" in str(error) else first_line(error)
        raise InputError(
            f"{path} cannot be read as a checkpoint: it is damaged ({reason}); {RESTORE}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of format {FORMAT}, which this version reads")
    _check_content(path, content)
    return content


def load_plain(path: Path) -> Any:  # noqa: ANN401 (whatever a file holds)
    """Load numbers, texts and tensors that torch.save wrote, without running code and without a warning of torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_content(path: Path, content: dict[str, Any]) -> None:
    """Raise InputError if a part is missing or unknown, or if the content is not what its checksum says."""
    if missing := PARTS - content.keys():
        raise InputError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}; {RESTORE}")
    unknown = content.keys() - PARTS - SINCE_CHECKSUM - FOR_RESUME
    if unknown or len(SINCE_CHECKSUM & content.keys()) not in (0, len(SINCE_CHECKSUM)):
        raise InputError(f"{path} is damaged: it has the parts {', '.join(map(str, content))}; {RESTORE}")
    if "sha256" in content and content_sha256(content) != content["sha256"]:
        raise InputError(f"{path} is damaged: its content is not what its sha256 says; {RESTORE}")


def content_sha256(content: Mapping[str, Any]) -> str:
    """Return the sha256 over everything in a checkpoint but the entry "sha256": names, numbers and tensors' bytes.

    torch.load does not compare the checksums of the archive, so that a flipped bit would change a weight unseen.
    """
    digest = hashlib.sha256()
    _digest({name: value for name, value in content.items() if name != "sha256"}, digest.update)
    return digest.hexdigest()


def _digest(value: Any, update: Callable[[bytes], None]) -> None:  # noqa: ANN401 (whatever a checkpoint holds)
    """Feed a value into a digest, with its type and size, so that no two values look alike."""
    if isinstance(value, torch.Tensor):
        update(f"tensor {value.dtype} {list(value.shape)}".encode())
        # Bytes, as numpy lacks some of torch's types. Numbers are little-endian wherever torch runs.
        update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        update(f"mapping {len(value)}".encode())
        for name, item in value.items():
            _digest(name, update)
            _digest(item, update)
    elif isinstance(value, list | tuple):
        update(f"sequence {len(value)}".encode())
        for item in value:
            _digest(item, update)
    else:
        update(f"{type(value).__name__} {value!r};".encode())


def load_run(run_dir: Path, checkpoint: str = "latest") -> TrainedRun:
    """Return the exported policy of a run folder's checkpoint with everything needed to use it.

    Raises:
        InputError: if there is no readable checkpoint of that name, or its content does not fit together.
    """
    content, path = read_checkpoint(run_dir, checkpoint), run_dir / "checkpoints" / f"{checkpoint}.pt"
    try:
        return _trained_run(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{path} is damaged: its parts do not fit together ({reason}); {RESTORE}") from error


def _trained_run(content: dict[str, Any]) -> TrainedRun:
    config, spec = config_from_dict(content["config"]), TaskSpec.from_dict(content["spec"])
    modules = content["learner"]["modules"]
    states = {
        "normalizer": _under(modules, "normalizer."),
        "deployed_actor": _under(modules, "deployed_actor."),
    }
    _check_weights(config.learner, spec, states["deployed_actor"])
    for part, state in states.items():
        for name, tensor in state.items():
            if not tensor.isfinite().all():
                raise InputError(f"{part}.{name} holds NaN or infinity; {RESTORE}")
    normalizer = ObservationNormalizer(spec.input_size, config.learner.normalize_observations)
    actor = build_actor(config.learner, spec.input_size, spec.action_size)
    normalizer.load_state_dict(states["normalizer"])
    actor.load_state_dict(states["deployed_actor"])
    if config.learner.std_min_final is not None:
        actor.set_std_min(std_min_after(config.learner, content["learner"]["updates"]))
    policy = Policy(normalizer, actor).eval().requires_grad_(False)
    software = Software(**content["software"]) if "software" in content else UNKNOWN
    return TrainedRun(policy, config, spec, int(content["steps"]), software)


def _check_weights(options: LearnerConfig, spec: TaskSpec, state: Mapping[str, Any]) -> None:
    """Raise InputError unless the weights have the shapes of the options' network, before it takes memory."""
    with torch.device("meta"):
        wanted = build_actor(options, spec.input_size, spec.action_size).state_dict()
    for name in sorted(wanted.keys() | state.keys()):
        shapes = [list(weights[name].shape) if name in weights else None for weights in (state, wanted)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"deployed_actor.{name} has the shape {shapes[0]}, where the options ask for {shapes[1]}; {RESTORE}"
            )


def config_from_dict(data: dict[str, Any]) -> TrainConfig:
    """Rebuild a TrainConfig from `dataclasses.asdict`, of this version or a former one.

    Raises:
        InputError: for an option that neither this version nor a former one has.
    """
    if not isinstance(data, dict):
        raise InputError(f"its options are {type(data).__name__}, not a dictionary; {RESTORE}")
    parts = {
        "task": TaskConfig,
        "learner": LearnerConfig,
        "collector": CollectorConfig,
        "wandb": WandbConfig,
        "checkpoint": CheckpointConfig,
    }
    values = {
        name: parts[name](**_known(name, value, parts[name])) if name in parts else value
        for name, value in data.items()
    }
    return TrainConfig(**_known("train", values, TrainConfig))


def _known(group: str, values: dict[str, Any], schema: type[Any]) -> dict[str, Any]:
    """Return `values` without the retired options of `group`, or raise InputError for an unknown one."""
    if not isinstance(values, dict):
        raise InputError(f"its options of {group} are {type(values).__name__}, not a dictionary; {RESTORE}")
    known = {field.name for field in dataclasses.fields(schema)}
    if unknown := values.keys() - known - RETIRED.get(group, {}).keys():
        raise InputError(
            f"the checkpoint has the option {', '.join(sorted(unknown))} of {group}, which this version does not "
            "know; use the version that wrote it"
        )
    return {name: value for name, value in values.items() if name in known}


def retired_in_use(data: dict[str, Any]) -> list[str]:
    """Return the retired options in `dataclasses.asdict` of a config that have another value than the neutral one."""
    found = []
    for group, neutral in RETIRED.items():
        values = data if group == "train" else data.get(group, {})
        prefix = "" if group == "train" else f"{group}."
        found += [
            f"{prefix}{name}={values[name]}"
            for name in neutral
            if values.get(name, neutral[name]) != neutral[name]
        ]
    return found


def _under(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
