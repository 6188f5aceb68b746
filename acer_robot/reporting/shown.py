"""The policies that a film shows, each with an environment that draws: exported files and checkpoints of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from acer_robot.experience.episodes import deterministic
from acer_robot.policies.exported.file import load_exported
from acer_robot.run_folder.checkpoints import TrainedRun, load_run
from acer_robot.run_folder.policy_path import checkpoint_of, policy_file
from acer_robot.spec import check_same_robot
from acer_robot.tasks import VectorTask, make_task, with_velocity

LABEL = 40
"""Characters of a path that name a policy in a picture; the end tells most."""


class ActingPolicy(Protocol):
    """What turns observations into commands: an exported file, or the exported policy of a checkpoint."""

    def reset(self) -> None:
        """Start a new episode."""

    def act(self, observations: Tensor) -> Tensor:
        """Return commands [B, m] in actuator units for observations [B, n]."""


class CheckpointPolicy:
    """The exported policy of a checkpoint; the task limits how fast its commands change."""

    def __init__(self, run: TrainedRun, task: VectorTask) -> None:
        self._act = deterministic(run.policy, task)

    def reset(self) -> None:
        """Start a new episode: this policy remembers nothing."""

    def act(self, observations: Tensor) -> Tensor:
        """Return commands [B, m] in actuator units for observations [B, n]."""
        return self._act(observations)


def open_policy(
    path: Path,
    seed: int,
    size: tuple[int, int] | None = None,
    camera: str = "tracking",
    velocity: Sequence[float] | None = None,
) -> tuple[ActingPolicy, VectorTask]:
    """Load a policy and make its task with one environment, which draws if it gets a `size` (width, height).

    Args:
        path: an exported policy.pt, a run folder, its export/, or one of its checkpoints.
        seed: seed of the episodes.
        size: of the pictures in pixels.
        camera: what they are taken with.
        velocity: that a robot must follow; None: as in training.

    Raises:
        InputError: if the policy or the camera cannot be used, or the task here is another one.
    """
    checkpoint = checkpoint_of(path)
    if checkpoint is not None:
        run = load_run(*checkpoint)
        spec, config = run.spec, run.config.task
    else:
        loaded = load_exported(policy_file(path))
        spec, config = loaded.spec, loaded.task_config
    task = make_task(with_velocity(config, velocity), 1, seed, size, camera)
    try:
        check_same_robot(spec, task.spec)
    except BaseException:
        task.close()
        raise
    return (loaded if checkpoint is None else CheckpointPolicy(run, task)), task


def label(path: Path) -> str:
    """Return what names a policy in a picture.

    >>> label(Path("runs/walk/export/policy.pt")), label(Path("runs/walk/checkpoints/best.pt"))
    ('runs/walk', 'runs/walk best')
    """
    checkpoint = checkpoint_of(path)
    if checkpoint is not None:
        name = f"{checkpoint[0]} {checkpoint[1]}"
    elif path.parts[-2:] == ("export", "policy.pt"):
        name = str(path.parent.parent)
    else:
        name = str(path.parent) if path.name == "export" else str(path)
    return name if len(name) <= LABEL else "..." + name[3 - LABEL :]
