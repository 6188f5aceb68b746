"""The export of a run: it writes one policy file, checks it, and only then puts it in its place."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acer_robot.children import ending_with_parent
from acer_robot.deployment import verify_formats, verify_policy
from acer_robot.deployment.closed_loop import ClosedLoop, compare
from acer_robot.deployment.json_values import json_ready
from acer_robot.deployment.policy_card import render_card
from acer_robot.deployment.robustness import check_robustness
from acer_robot.deployment.robustness import robustness as robustness_table
from acer_robot.deployment.vectors import VECTORS, plausible_observations, vectors
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import SCHEMA_VERSION, encode_options, load_exported, save_exported
from acer_robot.policies.exported.formats import OTHER_FORMATS, check_format, save_format
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.provenance import this_software
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.run_folder.layout import check_folder, create_folder
from acer_robot.run_folder.recording import FILE as EPISODES_FILE
from acer_robot.run_folder.recording import save_recording
from acer_robot.schema import CollectorConfig, check_choice
from acer_robot.spec import check_same_robot, fallback_command, rest_command
from acer_robot.tasks import make_task

VERIFICATION_SECONDS = 300
NOT_HASHED = (
    "run_dir",
    "sweep_dir",
    "wandb",
    "threads",
    "log_every",
    "hand_over",
    "video",
    "tensorboard",
    "eval_online",
)
"""Options that `config_sha256` leaves out. `run_dir`, `sweep_dir` and `wandb` say where results go. `log_every` says
how often they are written. `hand_over` and `video` say what follows training. `threads` depends on the machine and
changes only how sums are rounded. The hash includes `eval_every` and `eval_episodes`, because they decide which policy
is the best."""


def export_policy(
    run: TrainedRun,
    out: Path,
    episodes: int = 0,
    seed: int = 0,
    fallback: Mapping[str, float] | None = None,
    rest: Mapping[str, float] | None = None,
    formats: Sequence[str] = ("torchscript",),
    fuzzed_rows: int = verify_policy.FUZZED_ROWS,
    robustness: bool = False,
) -> Path:
    """Export the exported policy of a run into the folder `out`, if every check passes.

    Args:
        run: the trained run.
        out: folder for policy.pt, policy.json, test_vectors.npz, POLICY_CARD.md, evaluation.json and episodes.npz. If
            all checks pass, these files replace those of an earlier export. If a check fails, the earlier files stay.
        episodes: whole episodes. In them we score the file and compare it with the training-side policy. 0: no
            episodes, no evaluation.json and no episodes.npz.
        seed: seed of those episodes.
        fallback: `{joint name: command}` instead of the default command for unusable observations.
        rest: `{joint name: command}` instead of the home pose or the default, for where a safe stop ends.
        formats: "torchscript", and also "onnx" or "pt2" to write and check these formats.
        fuzzed_rows: random observations in the largest batch of the bounds check.
        robustness: whether the score has a table of returns and falls where robot and world differ.

    Returns:
        The path of policy.pt.

    Raises:
        InputError: if `out` cannot be a folder, a fallback or rest lies outside its bounds, a format is not available,
            or a check fails. The message names the check.
    """
    unusable = fallback_command(run.spec.bounds, fallback)
    at_rest = rest_command(run.spec, rest)
    others = check_formats(formats)
    if robustness:
        check_robustness(run.config.task, episodes)
    check_folder("out", out)
    create_folder("out", out)
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as folder:
        scratch, file = Path(folder), Path(folder) / "policy.pt"
        module = ExportedPolicy(run.policy, run.spec, unusable)
        metadata = {**describe(run), "fallback": unusable.tolist(), "rest": at_rest.tolist()}
        complete = save_exported(module, metadata, file)
        observations = sequence = plausible_observations(run)
        if episodes > 0:
            loop = compare(run, file, episodes, seed)
            observations = loop.observations[np.linspace(0, len(loop.observations) - 1, VECTORS, dtype=int)]
            sequence = loop.sequence
            if robustness:
                loop.evaluation["robustness"] = robustness_table(load_exported(file), seed)
            complete = save_exported(module, {**metadata, "evaluation": loop.evaluation}, file)
            _write_evaluation(loop, scratch)
        arrays = vectors(run, observations, sequence, unusable)
        np.savez(scratch / "test_vectors.npz", **arrays)  # type: ignore[arg-type]
        written = [save_format(name, module, complete, scratch) for name in others]
        _verify_and_describe(file, complete, written, fuzzed_rows)
        _publish(scratch, out)
    return out / "policy.pt"


def _write_evaluation(loop: ClosedLoop, folder: Path) -> None:
    """Write the episodes of the file and their score."""
    save_recording(loop.recording, folder / EPISODES_FILE)
    text = json.dumps(loop.evaluation, indent=2) + "\n"
    (folder / "evaluation.json").write_text(text, encoding="utf-8")


def _publish(scratch: Path, out: Path) -> None:
    """Move the checked files into `out`, in the place of those of an earlier export."""
    for name in ("evaluation.json", EPISODES_FILE, *OTHER_FORMATS.values()):
        (out / name).unlink(missing_ok=True)  # this export may not have written them
    for finished in sorted(scratch.iterdir()):
        os.replace(finished, out / finished.name)


def check_task(run: TrainedRun) -> None:
    """Raise InputError unless the task here is the one that the checkpoint records."""
    task = make_task(run.config.task, 1, 0)
    try:
        check_same_robot(run.spec, task.spec)
    finally:
        task.close()


def describe(run: TrainedRun) -> dict[str, Any]:
    """Return the contents of policy.json for a run, without the hashes of weights and file."""
    normalizer = run.policy.normalizer
    config = json_ready(dataclasses.asdict(run.config))
    here = this_software()
    versions = here.versions or {}
    return {
        "schema_version": SCHEMA_VERSION,
        "task": {name: value for name, value in run.spec.to_dict().items() if name != "robot"},
        "robot": None if run.spec.robot is None else run.spec.robot.to_dict(),
        "task_config": encode_options(dataclasses.asdict(run.config.task)),
        "fallback": fallback_command(run.spec.bounds).tolist(),
        "filter_start": fallback_command(run.spec.bounds).tolist(),
        "rest": rest_command(run.spec).tolist(),
        "normalizer": {
            "enabled": normalizer.enabled,
            "limit": normalizer.limit,
            "mean": normalizer.mean.tolist(),
            "std": normalizer.variance.sqrt().tolist(),
            "count": float(normalizer.count),
        },
        "algorithm": "ACER for continuous actions (arXiv:1611.01224), exported policy, deterministic",
        "learner": config["learner"],
        "training": {
            "steps": run.steps,
            "seed": run.config.seed,
            "config_sha256": config_sha256(config),
            "revision": run.software.revision,
            "versions": run.software.versions,
        },
        "evaluation": None,
        "versions": {name: versions[name] for name in ("acer-robot", "torch", "numpy")}
        | dict(run.spec.versions),
        "git_revision": here.revision,
    }


def config_sha256(config: Mapping[str, Any]) -> str:
    """Return the sha256 of the options that decide what a run learns: all options except those in NOT_HASHED."""
    deciding = {name: value for name, value in config.items() if name not in NOT_HASHED}
    if deciding.get("collector") == dataclasses.asdict(CollectorConfig()):
        del deciding["collector"]  # so that a recipe keeps the hash that it had before there was this group
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def check_formats(formats: Sequence[str]) -> list[str]:
    """Return the requested formats other than TorchScript, without duplicates.

    Raises:
        InputError: for an unknown format, one whose packages are missing, or a list without torchscript.
    """
    for name in formats:
        check_choice("formats", name, ("torchscript", *OTHER_FORMATS))
        check_format(name)
    if "torchscript" not in formats:
        raise InputError(
            f"formats={list(formats)} lacks torchscript; add it, the export checks the others beside it"
        )
    return sorted(set(formats) - {"torchscript"})


def _verify_and_describe(file: Path, metadata: dict[str, Any], others: list[Path], fuzzed_rows: int) -> None:
    """Check a policy.pt and its other formats in fresh processes. Write policy.json and the card next to it."""
    beside, companion = dict(metadata), file.with_suffix(".json")
    beside["file_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    companion.write_text(json.dumps(beside, indent=2) + "\n", encoding="utf-8")
    beside["verification"] = verify(file, fuzzed_rows=fuzzed_rows)
    beside["other_formats"] = {
        other.name: {
            "sha256": hashlib.sha256(other.read_bytes()).hexdigest(),
            "verification": verify(other, Path(verify_formats.__file__), fuzzed_rows),
        }
        for other in others
    }
    companion.write_text(json.dumps(beside, indent=2) + "\n", encoding="utf-8")
    (file.parent / "POLICY_CARD.md").write_text(render_card(beside), encoding="utf-8")


def verify(
    file: Path, script: Path = Path(verify_policy.__file__), fuzzed_rows: int = verify_policy.FUZZED_ROWS
) -> dict[str, Any]:
    """Check a policy file in a process that cannot import acer_robot, and return the report.

    The process also reads policy.json and test_vectors.npz from the folder of the file.

    Raises:
        InputError: if a check fails (the message names it), if the process fails, or if it takes too long.
    """
    command = [sys.executable, "-I", "-c", ending_with_parent(), str(script.resolve()), str(file.resolve())]
    command += ["--fuzzed-rows", str(fuzzed_rows)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=VERIFICATION_SECONDS,
            check=False,
            cwd=file.parent,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"export refused: the checks took longer than {VERIFICATION_SECONDS} s") from None
    lines = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()
    if done.returncode not in (0, 1) or not lines[-1].startswith("{"):
        raise InputError(f"export refused: the process that checks the file failed: {lines[-1]}")
    report: dict[str, Any] = json.loads(lines[-1])
    if "failed" in report:
        which = "" if file.suffix == ".pt" else f" of {file.name}"
        raise InputError(f"export refused: check '{report['failed']}'{which} failed: {report['detail']}")
    return report
