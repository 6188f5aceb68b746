"""The run folder: what is written before training begins."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import traceback
from pathlib import Path

import yaml

from acer_robot.errors import InputError
from acer_robot.provenance import Software, describe_environment
from acer_robot.run_folder.owner import LOCK
from acer_robot.run_folder.whole_file import write_whole
from acer_robot.schema import TrainConfig

BEFORE_LEARNING = (
    "environment.txt",
    "error.txt",
    "eval.csv",
    "home.png",
    "robot.xml",
    "metrics.csv",
    "status.json",
    "config.yaml",
)
"""Files of a run that has no checkpoint yet. config.yaml is removed last: while it is there, the rest can be."""
CHECKPOINTS = ("latest", "best")
"""The end of the run, and where the exported policy's evaluation was highest."""
FILM = "videos/policy.mp4"
"""One episode of the exported policy."""
ROOM = 128
"""Bytes that the path of a folder leaves to the names of the files in it."""


def write_environment(run_dir: Path, software: Software | None = None) -> Path:
    """Write environment.txt, one "name: value" line for each version, the processor and the git revision."""
    path = run_dir / "environment.txt"
    path.write_text(
        "".join(f"{name}: {value}\n" for name, value in describe_environment(software).items()),
        encoding="utf-8",
    )
    return path


def check_folder(name: str, path: Path) -> None:
    """Raise InputError, naming the option `name`, unless a folder is at `path` or can be created there.

    Nothing is created.
    """
    what = f"{name}={str(path)!r}"
    nearest = path.absolute()
    if "\0" in str(path):
        raise InputError(f"{what} has a NUL in its name; give another one")
    try:
        while not (nearest.is_symlink() or nearest.exists()):
            nearest = nearest.parent
        is_folder, loops = nearest.is_dir(), nearest.is_symlink() and not nearest.exists()
    except OSError as error:  # a name that is too long, or a disk that is gone
        raise InputError(f"{what} cannot be a folder: {error.strerror}; give another one") from error
    if loops:
        raise InputError(
            f"{what} cannot be created: {nearest} is a link to nothing, or to itself; remove the link"
        )
    if not is_folder:
        below = "" if nearest == path.absolute() else f": {nearest} is one"
        raise InputError(f"{what} is a file, or lies below one{below}; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{what} cannot be written: {nearest} is read-only for this user; give another folder"
        )
    longest, longest_path = (os.pathconf(nearest, limit) for limit in ("PC_NAME_MAX", "PC_PATH_MAX"))
    if any(len(os.fsencode(part)) > longest for part in path.parts):
        raise InputError(
            f"{what} has a name of more than {longest} bytes, which this disk refuses; shorten it"
        )
    if len(os.fsencode(path.absolute())) + ROOM > longest_path:
        raise InputError(
            f"{what} is longer than the {longest_path - ROOM} bytes that a path may have; shorten it"
        )


def create_folder(name: str, path: Path) -> None:
    """Create the folder of the option `name`, with its parents.

    Raises:
        InputError: if the system refuses what `check_folder` could not foresee, as below /proc.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{name}={str(path)!r} cannot be created: {error.strerror}; give another folder"
        ) from error


def create_run_dir(config: TrainConfig) -> Path:
    """Create the run folder and write the resolved options into config.yaml."""
    run_dir = Path(config.run_dir)
    create_folder("run_dir", run_dir)
    write_options(config)
    return run_dir


def write_options(config: TrainConfig) -> Path:
    """Write the resolved options into config.yaml of the run folder."""
    text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
    return write_whole(Path(config.run_dir) / "config.yaml", text.encode("utf-8"))


def is_empty(run_dir: Path) -> bool:
    """Whether nothing but the owner's lock, former wandb runs and incidents is in the folder."""
    return all(path.name in (LOCK, "wandb", "incidents") for path in run_dir.iterdir())


def clear_unlearnt(run_dir: Path) -> None:
    """Remove what a run left that was stopped before its first checkpoint, so that it can begin anew."""
    shutil.rmtree(run_dir / "tensorboard", ignore_errors=True)
    if not has_checkpoint(run_dir):  # the first one may be half-written
        shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
    for name in BEFORE_LEARNING:
        (run_dir / name).unlink(missing_ok=True)


def has_checkpoint(run_dir: Path) -> bool:
    """Whether a whole checkpoint is in the folder."""
    return any((run_dir / "checkpoints").glob("*.pt"))


def write_traceback(run_dir: Path, error: BaseException) -> Path:
    """Write the traceback of an error and of what caused it into error.txt; return the file."""
    path = run_dir / "error.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return path
