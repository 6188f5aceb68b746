"""Which file a path to a policy means: a file, a run folder, or the run's export/."""

from __future__ import annotations

from pathlib import Path

from acer_robot.errors import InputError
from acer_robot.run_folder.layout import CHECKPOINTS


def policy_file(path: Path) -> Path:
    """Return the exported policy.pt that `path` means: `path` itself, or the one in a run folder or its export/.

    Raises:
        InputError: if `path` is a folder without an exported policy.
    """
    if not path.is_dir():
        return path
    for file in (path / "export/policy.pt", path / "policy.pt"):
        if file.is_file():
            return file
    raise InputError(
        f"{path} holds no export/policy.pt and no policy.pt; give a run folder that has been exported (acer-export), "
        f"or a policy.pt"
    )


def given_policy(policy: str | None, run: str | None) -> Path:
    """Return the exported policy.pt that policy=FILE, policy=FOLDER or run=DIR means.

    Raises:
        InputError: unless exactly one of them is given, it exists, and it holds an exported policy.
    """
    if (policy is None) == (run is None):
        raise InputError("give exactly one of policy=FILE (an exported policy.pt) and run=DIR (a run folder)")
    if run is not None:
        if not Path(run).is_dir():
            raise InputError(f"run={run!r} is no folder; give the folder of a training run")
        return policy_file(Path(run))
    path = Path(str(policy))
    if not path.exists():
        raise InputError(
            f"policy={policy} does not exist; give a policy.pt that acer-export wrote, or a run folder"
        )
    return policy_file(path)


def run_folder(path: Path) -> Path:
    """Return the run folder that `path` means: `path` itself, or the folder above it if it is a run's export/."""
    above = path.absolute().parent
    is_export = path.absolute().name == "export" and not (path / "config.yaml").is_file()
    return above if is_export and (above / "config.yaml").is_file() else path


def checkpoint_of(path: Path) -> tuple[Path, str] | None:
    """Return run folder and name of the checkpoint if `path` is one: RUN/checkpoints/latest.pt or best.pt."""
    path = path if path.parent.name else path.absolute()  # a name alone, from inside the folder
    if path.parent.name == "checkpoints" and path.suffix == ".pt" and path.stem in CHECKPOINTS:
        return path.parent.parent, path.stem
    return None
