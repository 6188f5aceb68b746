"""What a run reports while it learns: progress, metrics.csv, eval.csv and a Weights & Biases run.

Every x-axis is environment steps, action repeats included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from acer_robot.interrupt import exit_status
from acer_robot.reporting.progress import Progress
from acer_robot.reporting.wandb import WandbRun, start_wandb
from acer_robot.run_folder.tables import CsvTable
from acer_robot.schema import WandbConfig


class RunLogger:
    """Everything a training run reports, in one place; use it as a context manager.

    It flushes each row of metrics.csv and eval.csv, so an interrupted run keeps its rows. The first row of a table
    fixes its columns: give every name from the start, with NaN where there is no value yet.
    """

    def __init__(
        self, run_dir: Path, wandb_config: WandbConfig, config: dict[str, Any], total_steps: int
    ) -> None:
        self._metrics = CsvTable(run_dir / "metrics.csv")
        self._evaluations = CsvTable(run_dir / "eval.csv")
        self._wandb: WandbRun | None = start_wandb(run_dir, wandb_config, config)
        self._progress = Progress(total_steps)

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(exit_code=exit_status(error))

    def log_metrics(self, step: int, row: Mapping[str, float]) -> None:
        """Append `row` to metrics.csv and send it to wandb; `step` counts environment steps.

        Raises:
            ValueError: if `row` has a name that the first row did not have.
        """
        self._metrics.write(step, row)
        if self._wandb is not None:
            self._wandb.log(step, row)

    def log_evaluation(self, step: int, row: Mapping[str, float]) -> None:
        """Append `row` to eval.csv, send it to wandb and print it as one line.

        Raises:
            ValueError: if `row` has a name that the first row did not have.
        """
        self._evaluations.write(step, row)
        if self._wandb is not None:
            self._wandb.log(step, row)
        shown = ", ".join(f"{name.removeprefix('eval/')} {value:.5g}" for name, value in row.items())
        self._progress.say(f"evaluation at step {step:,}: {shown}")

    def progress(self, step: int, shown: Mapping[str, str]) -> None:
        """Show the step, the speed, the time left and `shown`. A call is cheap enough for every step."""
        self._progress.update(step, shown)

    def close(self, files: Sequence[Path] = (), exit_code: int = 0) -> None:
        """Close bar, tables and wandb run. The wandb run gets `files` (below the run folder) and `exit_code`.

        Later calls do nothing.
        """
        self._progress.close()
        self._metrics.close()
        self._evaluations.close()
        if self._wandb is not None:
            self._wandb.close(files, exit_code)
            self._wandb = None
