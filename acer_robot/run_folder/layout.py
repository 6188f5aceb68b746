"""The run folder: what is written before training begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import yaml

from acer_robot.provenance import Software, describe_environment
from acer_robot.schema import TrainConfig


def write_environment(run_dir: Path, software: Software | None = None) -> Path:
    """Write environment.txt, one "name: value" line for each version, the processor and the git revision."""
    path = run_dir / "environment.txt"
    path.write_text(
        "".join(f"{name}: {value}\n" for name, value in describe_environment(software).items()),
        encoding="utf-8",
    )
    return path


def create_run_dir(config: TrainConfig) -> Path:
    """Create the run folder and write the resolved options into config.yaml."""
    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
    (run_dir / "config.yaml").write_text(text, encoding="utf-8")
    return run_dir
