"""Which file a path to a policy means: a file, a run folder, or the run's export/."""

from __future__ import annotations

from pathlib import Path

from acer_robot.errors import InputError
from acer_robot.run_folder.checkpoints import CHECKPOINTS


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


def checkpoint_of(path: Path) -> tuple[Path, str] | None:
    """Return run folder and name of the checkpoint if `path` is one: RUN/checkpoints/latest.pt or best.pt."""
    if path.parent.name == "checkpoints" and path.suffix == ".pt" and path.stem in CHECKPOINTS:
        return path.parent.parent, path.stem
    return None
