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


def log_policy(wandb: Any, run: Any, files: Sequence[Path], folder: Path) -> None:  # noqa: ANN401 (wandb's own types)
    """Log the files of an exported policy as a new version, known as "latest" and by the id of the run.

    Args:
        wandb: the module.
        run: the wandb run.
        files: of FILES, those that there are.
        folder: the run's folder under wandb/. It keeps a copy of the files, which `wandb sync` uploads later, even
            where the policy was exported anew.
    """
    kept = folder / "policy"
    kept.mkdir(exist_ok=True)
    metadata = next((json.loads(f.read_text(encoding="utf-8")) for f in files if f.name == "policy.json"), {})
    score = next(
        (json.loads(f.read_text(encoding="utf-8")) for f in files if f.name == "evaluation.json"), {}
    )
    artifact = wandb.Artifact(
        ARTIFACT,
        TYPE,
        description="One policy file for a robot, with card, metadata and test vectors",
        metadata={
            "task": metadata.get("task", {}).get("id"),
            "steps": metadata.get("training", {}).get("steps"),
            "return_mean": score.get("return_mean"),
            "file_sha256": metadata.get("file_sha256"),
            "weights_sha256": metadata.get("weights_sha256"),
        },
    )
    for file in files:
        copy = Path(shutil.copyfile(file, kept / file.name))
        # "immutable": wandb reads our copy, and does not make another one in the user's home.
        artifact.add_file(str(copy), policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=["latest", run.id])
