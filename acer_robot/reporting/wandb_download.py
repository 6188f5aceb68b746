"""An exported policy, downloaded from the artifacts of Weights & Biases."""

from __future__ import annotations

import re
from pathlib import Path

from acer_robot.errors import InputError
from acer_robot.reporting.wandb_settings import base_url, has_api_key, one_line, wandb_module

ARTIFACT_PREFIX = "wandb:"
"""What a policy=wandb:.. begins with."""

DOWNLOAD_SECONDS = 60
"""How long a server may take to answer one question."""


def check_reference(policy: str) -> str:
    """Return wandb's name of an artifact, from "wandb:entity/project/policy:latest".

    Raises:
        InputError: if it is not of that form.
    """
    name = policy.removeprefix(ARTIFACT_PREFIX)
    if not re.fullmatch(r"[\w.-]+/[^/\\#?%:\s]+/[\w.-]+:[^/:\s]+", name):
        raise InputError(
            f"policy={policy!r} does not name an artifact; expected wandb:ENTITY/PROJECT/policy:VERSION, "
            "with a version such as latest or v3"
        )
    return name


def download_policy(policy: str, folder: Path) -> Path:
    """Download the artifact "wandb:entity/project/policy:latest" into `folder`; return its policy.pt.

    Each file is compared with its digest in the artifact. `load_exported` compares policy.pt with the hashes in
    policy.json, which must be there, too.

    Raises:
        InputError: if there is no such artifact, it cannot be downloaded, or it is not an exported policy.
    """
    name = check_reference(policy)
    wandb = wandb_module()
    if not has_api_key():
        raise InputError(
            f"policy={policy} needs an API key for {base_url()}; run `wandb login`, or set WANDB_API_KEY"
        )
    try:
        artifact = wandb.Api(timeout=DOWNLOAD_SECONDS).artifact(name)
        artifact.download(root=str(folder), skip_cache=True)
        artifact.verify(root=str(folder))
    # wandb raises errors of its own, of requests and of the operating system.
    except Exception as error:
        raise InputError(
            f"policy={policy} cannot be downloaded from {base_url()}: {one_line(error)}; check its name, the key "
            "and the network"
        ) from error
    missing = [file for file in ("policy.pt", "policy.json") if not (folder / file).is_file()]
    if missing:
        raise InputError(
            f"policy={policy} has no {' and no '.join(missing)}; give an artifact that acer-train logged"
        )
    return folder / "policy.pt"
