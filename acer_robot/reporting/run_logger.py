"""What a run tells while it learns: progress, metrics.csv, eval.csv and a Weights & Biases run.

The x-axis is environment steps everywhere, action repeat counted.
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

    metrics.csv and eval.csv are flushed row by row, so that an interrupted run keeps what it knew. The first
    row of each fixes its columns: give every name from the start, NaN where there is no value yet.
    """

    def __init__(
        self,
        run_dir: Path,
        wandb_config: WandbConfig,
        config: dict[str, Any],
        total_steps: int,
        resumed: tuple[int, dict[str, Any]] | None = None,
    ) -> None:
        """Begin the tables and the wandb run, or go on with them: `resumed` is an environment step and a `state()`."""
        step, state = resumed if resumed is not None else (None, {})
        self._metrics = CsvTable(run_dir / "metrics.csv", step)
        self._evaluations = CsvTable(run_dir / "eval.csv", step)
        self._wandb_id: str | None = state.get("wandb")
        self._wandb: WandbRun | None = start_wandb(run_dir, wandb_config, config, self._wandb_id)
        self._wandb_id = self._wandb.id if self._wandb is not None else self._wandb_id
        self._progress = Progress(total_steps, step or 0)

    def state(self) -> dict[str, Any]:
        """Return the id of the wandb run; the tables are files of their own."""
        return {"wandb": self._wandb_id}

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
        """Show how far the run is, its speed, the time left and `shown`; cheap enough for every step."""
        self._progress.update(step, shown)

    def close(self, files: Sequence[Path] = (), exit_code: int = 0) -> None:
        """End bar, tables and wandb run; the latter takes `files` (below the run folder) and `exit_code` with it.

        Later calls do nothing.
        """
        self._progress.close()
        self._metrics.close()
        self._evaluations.close()
        if self._wandb is not None:
            self._wandb.close(files, exit_code)
            self._wandb = None
