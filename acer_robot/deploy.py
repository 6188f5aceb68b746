"""`acer-export`: one policy file that a robot can trust, checked before it is put in its place."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from acer_robot import verify_formats, verify_policy
from acer_robot.checkpoint import TrainedRun, load_run
from acer_robot.closed_loop import compare
from acer_robot.command import run_command
from acer_robot.command_filter import CommandFilter
from acer_robot.config import ExportConfig, check_choice, check_range
from acer_robot.errors import InputError
from acer_robot.policies.deployed import SCHEMA_VERSION, save_deployed
from acer_robot.policies.deployed_module import RAW_LIMIT, DeployedPolicy
from acer_robot.policies.other_formats import OTHER_FORMATS, check_format, save_format
from acer_robot.policies.policy import Policy
from acer_robot.policy_card import render_card
from acer_robot.spec import ActionBounds, fallback_command
from acer_robot.versions import git_revision, package_versions

VECTORS = 256
"""Ordinary observations in test_vectors.npz."""
NUDGES = 16
"""Evaluations from which the effect of rounding is judged."""
VERIFICATION_SECONDS = 300

Floats = npt.NDArray[np.float32]


def export_policy(
    run: TrainedRun,
    out: Path,
    episodes: int = 0,
    seed: int = 0,
    fallback: Mapping[str, float] | None = None,
    formats: Sequence[str] = ("torchscript",),
) -> Path:
    """Export the average policy of a run into `out`, if every check passes.

    Args:
        run: the trained run.
        out: folder for policy.pt, policy.json, test_vectors.npz, POLICY_CARD.md and evaluation.json; what
            an earlier export left there is replaced at the end, or stays where a check fails.
        episodes: whole episodes in which the file is scored and compared with the training-side policy; 0:
            none, and no evaluation.json.
        seed: seed of those episodes.
        fallback: `{joint name: command}` in place of the default command for unusable observations.
        formats: "torchscript", and of "onnx" and "pt2" those to write and check beside it.

    Returns:
        The path of policy.pt.

    Raises:
        InputError: if `out` cannot be a folder, a fallback lies outside its bounds, a format cannot be had, or
            a check fails; the message names the check.
    """
    unusable = fallback_command(run.spec.bounds, fallback)
    others = check_formats(formats)
    if out.exists() and not out.is_dir():
        raise InputError(f"out={out} is a file; give a folder")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as folder:
        scratch = Path(folder)
        file = scratch / "policy.pt"
        module = DeployedPolicy(run.policy, run.spec, unusable)
        metadata = {**describe(run), "fallback": unusable.tolist()}
        complete = save_deployed(module, metadata, file)
        observations = sequence = _plausible_observations(run)
        if episodes > 0:
            loop = compare(run, file, episodes, seed)
            observations = loop.observations[np.linspace(0, len(loop.observations) - 1, VECTORS, dtype=int)]
            sequence = loop.sequence
            complete = save_deployed(module, {**metadata, "evaluation": loop.evaluation}, file)
            (scratch / "evaluation.json").write_text(json.dumps(loop.evaluation, indent=2) + "\n")
        arrays = vectors(run, observations, sequence, unusable)
        np.savez(scratch / "test_vectors.npz", **arrays)  # type: ignore[arg-type]
        files = [save_format(name, module, complete, scratch) for name in others]
        _verify_and_describe(file, complete, files)
        for name in ("evaluation.json", *OTHER_FORMATS.values()):
            (out / name).unlink(missing_ok=True)  # it would be an earlier export's
        for finished in sorted(scratch.iterdir()):
            os.replace(finished, out / finished.name)
    return out / "policy.pt"


def describe(run: TrainedRun) -> dict[str, Any]:
    """Return what policy.json records about a run, all but the hashes of weights and file."""
    normalizer = run.policy.normalizer
    config = _json_ready(dataclasses.asdict(run.config))
    versions = package_versions()
    return {
        "schema_version": SCHEMA_VERSION,
        "task": run.spec.to_dict(),
        "task_config": config["task"],
        "fallback": fallback_command(run.spec.bounds).tolist(),
        "rest": fallback_command(run.spec.bounds).tolist(),
        "normalizer": {
            "enabled": normalizer.enabled,
            "limit": normalizer.limit,
            "mean": normalizer.mean.tolist(),
            "std": normalizer.variance.sqrt().tolist(),
            "count": float(normalizer.count),
        },
        "algorithm": "ACER for continuous actions (arXiv:1611.01224), average policy, deterministic",
        "learner": config["learner"],
        "training": {
            "steps": run.steps,
            "seed": run.config.seed,
            "config_sha256": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        },
        "evaluation": None,
        "versions": {name: versions[name] for name in ("acer-robot", "torch", "numpy")}
        | dict(run.spec.versions),
        "git_revision": git_revision(),
    }


def _json_ready(value: Any) -> Any:  # noqa: ANN401 (any nesting of options)
    """Return `value` with infinities as the strings "inf" and "-inf", which JSON has no numbers for."""
    if isinstance(value, dict):
        return {name: _json_ready(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def vectors(
    run: TrainedRun, observations: Floats, sequence: Floats, fallback: npt.NDArray[np.float64]
) -> dict[str, Floats]:
    """Return test vectors: observations of three kinds with the commands of the training-side policy.

    Ordinary and extreme ones are each the first of an episode; those of the sequence [T, n] follow another.
    A non-finite observation is given the fallback command.
    """
    arrays: dict[str, Floats] = {}
    extreme = extreme_observations(run.spec.observation_size)
    for kind, rows in (("", observations), ("extreme_", extreme), ("sequence_", sequence)):
        usable = np.isfinite(rows).all(axis=1, keepdims=True)
        commands = np.where(usable, reference_commands(run, rows), fallback)
        in_a_row = kind == "sequence_"
        command_filter = CommandFilter(run.spec, 1 if in_a_row else len(rows))
        filtered = [command_filter(c[None])[0] for c in commands] if in_a_row else command_filter(commands)
        arrays[f"{kind}observations"] = rows
        arrays[f"{kind}commands"] = np.asarray(filtered, dtype=np.float32)
    arrays["extreme_rounding"] = float32_rounding(run, extreme)
    return arrays


def reference_commands(run: TrainedRun, rows: Floats) -> npt.NDArray[np.float64]:
    """Return the training-side policy's commands [N, d] before any filter, for observations [N, n].

    They are computed in float64, in which no finite float32 observation overflows. What is not normalised is
    limited as in the exported module.
    """
    policy = copy.deepcopy(run.policy).double()
    return _commands(policy, run.spec.bounds, torch.from_numpy(rows).double())


def float32_rounding(run: TrainedRun, rows: Floats) -> Floats:
    """Return how far float32 may move the commands [N, d] for observations [N, n].

    Without a normaliser an observation of 1e6 loses digits that a command between its bounds shows: four times
    the largest deviation of the training-side policy in float32, over observations off by a rounding or less.
    """
    exact, rng = reference_commands(run, rows), np.random.default_rng(0)
    deviation = np.zeros_like(exact)
    for _ in range(NUDGES):
        nudge = 1.0 + np.finfo(np.float32).eps * rng.uniform(-1.0, 1.0, rows.shape)
        with np.errstate(over="ignore"):
            nudged = torch.from_numpy((rows * nudge).astype(np.float32))
        deviation = np.fmax(deviation, np.abs(_commands(run.policy, run.spec.bounds, nudged) - exact))
    usable = np.isfinite(rows).all(axis=1, keepdims=True)
    return np.where(usable, 4.0 * deviation, 0.0).astype(np.float32)


def _commands(policy: Policy, bounds: ActionBounds, observations: torch.Tensor) -> npt.NDArray[np.float64]:
    limit = math.inf if policy.normalizer.enabled else RAW_LIMIT
    with torch.no_grad():
        canonical = policy.act(observations.clamp(-limit, limit)).double().numpy()
    return bounds.to_command(canonical).astype(np.float64)


def extreme_observations(size: int) -> Floats:
    """Return observations [N, n] at the ends of float32: constant ones, and one extreme entry among zeros."""
    largest, tiny = float(np.finfo(np.float32).max), 1e-45
    ends = [tiny, 1.0, 1e6, 1e38, largest, np.inf]
    values = [0.0, -0.0, np.nan, *ends, *(-value for value in ends)]
    constant = np.repeat(np.asarray(values, dtype=np.float32)[:, None], size, axis=1)
    single = np.zeros((len(values), size), dtype=np.float32)
    single[np.arange(len(values)), np.arange(len(values)) % size] = values
    return np.concatenate([constant, single])


def _plausible_observations(run: TrainedRun) -> Floats:
    """Draw observations around the recorded statistics, for a run whose task is not to be simulated."""
    normalizer = run.policy.normalizer
    draws = np.random.default_rng(0).standard_normal((VECTORS, run.spec.observation_size))
    mean, std = normalizer.mean.double().numpy(), normalizer.variance.double().sqrt().numpy()
    observations: Floats = (mean + 2.0 * std * draws).astype(np.float32)
    return observations


def check_formats(formats: Sequence[str]) -> list[str]:
    """Return the formats beside TorchScript, once each.

    Raises:
        InputError: for an unknown format, one whose packages are missing, or a list without torchscript.
    """
    for name in formats:
        check_choice("formats", name, ("torchscript", *OTHER_FORMATS))
        check_format(name)
    if "torchscript" not in formats:
        raise InputError(f"formats={list(formats)} lacks torchscript, beside which the others are checked")
    return sorted(set(formats) - {"torchscript"})


def _verify_and_describe(file: Path, metadata: dict[str, Any], others: list[Path]) -> None:
    """Check a policy.pt and its other formats in fresh processes; write policy.json and the card beside."""
    beside, companion = dict(metadata), file.with_suffix(".json")
    beside["file_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    companion.write_text(json.dumps(beside, indent=2) + "\n")
    beside["verification"] = verify(file)
    beside["other_formats"] = {
        other.name: {
            "sha256": hashlib.sha256(other.read_bytes()).hexdigest(),
            "verification": verify(other, Path(verify_formats.__file__)),
        }
        for other in others
    }
    companion.write_text(json.dumps(beside, indent=2) + "\n")
    (file.parent / "POLICY_CARD.md").write_text(render_card(beside))


def verify(file: Path, script: Path = Path(verify_policy.__file__)) -> dict[str, Any]:
    """Check a file with its companions in a process that cannot import acer_robot; return the report.

    Raises:
        InputError: naming the check that failed.
    """
    command = [sys.executable, "-I", str(script.resolve()), str(file.resolve())]
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


def _export(config: ExportConfig) -> None:
    check_range("episodes", config.episodes, 0)
    run_dir = Path(config.run)
    out = run_dir / "export" if config.out is None else Path(config.out)
    run = load_run(run_dir, config.checkpoint)
    policy = export_policy(run, out, config.episodes, config.seed, config.fallback, config.formats)
    print(f"wrote {policy} and, beside it, policy.json, test_vectors.npz and POLICY_CARD.md")


def main() -> None:
    """Run `acer-export`."""
    run_command("export", ExportConfig, _export)


if __name__ == "__main__":
    main()
