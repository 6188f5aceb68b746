"""From `task.model` to an MJCF model that can be edited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from acer_robot.errors import InputError, first_line
from acer_robot.tasks.model.simulator import load_simulator, quiet_building

if TYPE_CHECKING:
    from mujoco import MjModel, MjSpec

PUP = "pup"
"""`task.model` of the quadruped that this package contains."""
MENAGERIE = "menagerie:"
"""Prefix of a robot of MuJoCo Menagerie, which the package mujoco-menagerie downloads and keeps."""


def load_robot(model: str | None) -> MjSpec:
    """Return the model that `task.model` names.

    Raises:
        InputError: if it is not given, or cannot be found, downloaded or read.
    """
    mujoco = load_simulator("mujoco", rendering=False)
    if not model:
        raise InputError(
            "task.model must be given: the path of an MJCF file, menagerie:NAME (menagerie:unitree_go1), or pup"
        )
    path = model_path(model)
    if not path.is_file():
        raise InputError(f"task.model={model!r} is no file; give an MJCF file, menagerie:NAME, or pup")
    try:
        with quiet_building():
            spec: MjSpec = mujoco.MjSpec.from_file(str(path))
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(f"task.model={model!r} cannot be read as MJCF: {first_line(error)}") from error
    return spec


def model_path(model: str) -> Path:
    """Return the file that `task.model` names. A robot of Menagerie is downloaded at its first use.

    Raises:
        InputError: if the package is absent, it has no such robot, or the download fails.
    """
    if model == PUP:
        return Path(__file__).parent / "pup.xml"
    if not model.startswith(MENAGERIE):
        return Path(model).expanduser()
    try:
        import mujoco_menagerie
    except ModuleNotFoundError as error:
        raise InputError(
            f"task.model={model} needs the package mujoco-menagerie: pip install 'acer-robot[robots]'; or give the "
            f"path of an MJCF file"
        ) from error
    name = model.removeprefix(MENAGERIE)
    try:
        robot = mujoco_menagerie.get(name)
        return Path(robot.xml(robot.default_model))
    except mujoco_menagerie.UnknownRobotError as error:
        raise InputError(
            f"task.model={model}: {first_line(error)} The package has {len(mujoco_menagerie.names())} robots; "
            f"python -m mujoco_menagerie list shows them"
        ) from error
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise InputError(
            f"task.model={model} cannot be downloaded: {first_line(error)}; connect to a network once, or give the "
            f"path of an MJCF file"
        ) from error


def compiled(spec: MjSpec, model: str | None) -> MjModel:
    """Compile an edited model.

    Raises:
        InputError: if MuJoCo refuses it, for example because a mesh file is missing.
    """
    import mujoco

    try:
        with quiet_building():
            result: MjModel = spec.compile()
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(f"task.model={model!r} cannot be compiled: {first_line(error)}") from error
    return result
