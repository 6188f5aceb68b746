"""`acer-export`: one policy file that a robot can trust, checked before it is put in its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.deployment.export import check_task, export_policy
from acer_robot.run_folder.checkpoints import load_run
from acer_robot.schema import MISSING, check_range


@dataclass
class ExportConfig:
    """Options of `acer-export`."""

    run: str = MISSING
    """A run folder, the average policy of whose checkpoint is exported."""
    checkpoint: str = "latest"
    """Which of the run's: latest, or best, where its evaluation was highest."""
    out: str | None = None
    """Folder for the files; default: export/ in the run folder."""
    episodes: int = 10
    """Whole episodes in which the file is scored and compared with the training-side policy; 0: none."""
    seed: int = 0
    """Seed of those episodes."""
    fallback: dict[str, float] = field(default_factory=dict)
    """Commands for unusable observations, by joint name: {bthigh: 0.1}; others: zero, or the middle of the range."""
    formats: list[str] = field(default_factory=lambda: ["torchscript"])
    """Files to write and check: torchscript (policy.pt, always), onnx (policy.onnx), pt2 (policy.pt2)."""


def _export(config: ExportConfig) -> None:
    check_range("episodes", config.episodes, 0, 1_000_000)
    check_range("seed", config.seed, 0, 2**31 - 1)
    run_dir = Path(config.run)
    out = run_dir / "export" if config.out is None else Path(config.out)
    run = load_run(run_dir, config.checkpoint)
    check_task(run)
    policy = export_policy(run, out, config.episodes, config.seed, config.fallback, config.formats)
    print(f"wrote {policy} and, beside it, policy.json, test_vectors.npz and POLICY_CARD.md")


def main() -> None:
    """Run `acer-export`."""
    run_command("export", ExportConfig, _export)


if __name__ == "__main__":
    main()
