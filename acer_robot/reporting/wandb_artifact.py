"""An exported policy as a versioned artifact of Weights & Biases, as acer-train logs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ARTIFACT, TYPE = "policy", "policy"
"""Name and type of the artifact: all runs of a project share the name, and each run adds a version."""

FILES = ("policy.pt", "policy.json", "test_vectors.npz", "POLICY_CARD.md", "evaluation.json")
"""What acer-export writes and the artifact holds."""


def is_exported(file: Path) -> bool:
    """Whether `file` belongs to an exported policy."""
    return file.name in FILES


def log_policy(wandb: Any, run: Any, files: Sequence[Path], folder: Path, shown: Path) -> None:  # noqa: ANN401 (wandb's own types)
    """Log the files of an exported policy as a new version, known as "latest" and by the id of the run.

    Args:
        wandb: the module.
        run: the wandb run.
        files: of FILES, those that there are.
        folder: receives a copy of the files, which wandb uploads, even where the policy is exported anew before.
        shown: the same folder, as wandb's process is told of it. It ends up in the artifact's manifest for all to
            see, so it must have no private name in it.
    """
    folder.mkdir(exist_ok=True)
    metadata = _json(files, "policy.json")
    artifact = wandb.Artifact(
        ARTIFACT,
        TYPE,
        description="One policy file for a robot, with card, metadata and test vectors",
        metadata={
            "task": metadata.get("task", {}).get("id"),
            "steps": metadata.get("training", {}).get("steps"),
            "return_mean": _json(files, "evaluation.json").get("return_mean"),
            "file_sha256": metadata.get("file_sha256"),
            "weights_sha256": metadata.get("weights_sha256"),
        },
    )
    for file in files:
        copy = shutil.copyfile(file, folder / file.name)
        # "immutable": wandb reads our copy, and does not make another one in the user's home.
        entry = artifact.add_file(str(copy), policy="immutable", skip_cache=True)
        entry.local_path = str(shown / file.name)
    run.log_artifact(artifact, aliases=["latest", run.id])


def _json(files: Sequence[Path], name: str) -> dict[str, Any]:
    """Return what the one of `files` with this name holds, nothing if there is none."""
    for file in files:
        if file.name == name:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return content
    return {}
