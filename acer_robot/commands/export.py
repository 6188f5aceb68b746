"""`acer-export`: write one policy file for a robot, and verify it before it replaces an older one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.run_folder.layout import FILM
from acer_robot.schema import MISSING, check_range
from acer_robot.shell import typed


@dataclass
class ExportConfig:
    """Options of `acer-export`."""

    run: str = MISSING
    """A run folder. The exported policy of its checkpoint is written."""
    checkpoint: str = "latest"
    """Which checkpoint of the run: latest, or best (the one with the highest evaluation)."""
    out: str | None = None
    """Folder for the files; default: export/ in the run folder."""
    episodes: int = 10
    """Whole episodes that score the file and compare it with the training-side policy; 0: none."""
    seed: int = 0
    """Seed of the episodes that score the file."""
    fallback: dict[str, float] = field(default_factory=dict)
    """Commands for an observation with a NaN or an infinity, by joint name: {bthigh: 0.1}. Other joints get zero, or
    the middle of their range where it excludes zero."""
    rest: dict[str, float] = field(default_factory=dict)
    """Commands that a safe stop ramps to, by joint name: {bthigh: 0.1}. Other joints get their home pose where all
    actuators take positions, else zero, or the middle of their range where it excludes zero."""
    formats: list[str] = field(default_factory=lambda: ["torchscript"])
    """Files to write and check: torchscript (policy.pt, always), onnx (policy.onnx), pt2 (policy.pt2)."""
    robustness: bool = False
    """Whether card, policy.json and report get a table of returns and falls with other friction, mass and gains, with
    delays, noise and pushes. It runs 30 episodes for each row, on mujoco.batch."""


def _export(config: ExportConfig) -> None:
    from acer_robot.deployment.export import check_task, export_policy
    from acer_robot.run_folder.checkpoints import load_run
    from acer_robot.run_folder.policy_path import run_folder

    check_range("episodes", config.episodes, 0, 1_000_000)
    check_range("seed", config.seed, 0, 2**31 - 1)
    run_dir = run_folder(Path(config.run))
    out = run_dir / "export" if config.out is None else Path(config.out)
    run, former = load_run(run_dir, config.checkpoint), _weights(out)
    check_task(run)
    policy = export_policy(
        run,
        out,
        config.episodes,
        config.seed,
        config.fallback,
        config.rest,
        config.formats,
        robustness=config.robustness,
    )
    print(f"wrote {policy} and, beside it, policy.json, test_vectors.npz and POLICY_CARD.md")
    if config.out is None and former != _weights(out):
        _tell_of_former(run_dir, policy)
    if config.robustness:
        print(_robustness(policy.with_name("evaluation.json")))


def _weights(folder: Path) -> str | None:
    """Return the sha256 of the weights of the policy in a folder; None where there is none that can be read."""
    try:
        found = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
        return str(found["weights_sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _tell_of_former(run_dir: Path, policy: Path) -> None:
    """Print how to renew film and report of the run, which are of the policy that was exported before."""
    film = run_dir / FILM
    if film.exists():
        renew = f"acer-render {typed('policy', policy)} {typed('out', film)}"
        print(f"{film} shows the former policy; to renew it: {renew}")
    if (report := run_dir / "report.html").exists():
        print(f"{report} has the former policy; to renew it: acer-report {typed('run', run_dir)}")


def _robustness(evaluation: Path) -> str:
    """Return the nominal and the worst row of the table in evaluation.json, in one line."""
    from acer_robot.deployment.robustness import table_rows

    table = json.loads(evaluation.read_text(encoding="utf-8"))["robustness"]
    rows = [row for row in table_rows(table) if row[0] == "nominal" or row[0].endswith(", the worst")]
    parts = (f"{name}: return {mean}, {falls} episodes fell" for name, mean, falls in rows)
    return f"robustness: {'; '.join(parts)}; the other rows are in POLICY_CARD.md"


def main() -> None:
    """Run `acer-export`."""
    run_command("export", ExportConfig, _export)


if __name__ == "__main__":
    main()
