"""What a run tells while it learns: progress, metrics.csv, eval.csv and a Weights & Biases run.

The x-axis is environment steps everywhere, action repeat counted.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from acer_robot.config import WandbConfig
from acer_robot.versions import describe_environment
from acer_robot.wandb_run import WandbRun, start_wandb


class RunLogger:
    """Everything a training run reports, in one place; use it as a context manager.

    metrics.csv and eval.csv are flushed row by row, so that an interrupted run keeps what it knew. The first
    row of each fixes its columns: give every name from the start, NaN where there is no value yet.
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
        self.close()

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

    def close(self, files: Sequence[Path] = ()) -> None:
        """End bar, tables and wandb run; the latter takes `files` (below the run folder) with it.

        Later calls do nothing.
        """
        self._progress.close()
        self._metrics.close()
        self._evaluations.close()
        if self._wandb is not None:
            self._wandb.close(files)
            self._wandb = None


class CsvTable:
    """A CSV file of numbers whose columns are "step" and then the names of the first row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("x", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._names: list[str] | None = None

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Append one row and flush it; a column that `row` lacks stays empty.

        Raises:
            ValueError: if `row` has a name that the first row did not have.
        """
        if self._names is None:
            self._names = list(row)
            self._writer.writerow(["step", *self._names])
        if unknown := [name for name in row if name not in self._names]:
            raise ValueError(
                f"{self.path.name} has no column {', '.join(unknown)}; its first row fixed its columns"
            )
        self._writer.writerow([step, *(float(row[name]) if name in row else "" for name in self._names)])
        self._file.flush()

    def close(self) -> None:
        """Close the file; later calls do nothing."""
        self._file.close()


class Progress:
    """A progress bar on a terminal; elsewhere (a file, CI) at most some fifty plain lines for a whole run."""

    LINES, MIN_SECONDS = 50, 30.0

    def __init__(self, total_steps: int) -> None:
        self._total = total_steps
        # A pseudo-terminal without a size has no room for a bar.
        self._terminal = sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
        # Speed is averaged over a minute or so: the first, random steps are fast and evaluations interrupt.
        self._bar: tqdm[Any] = tqdm(
            total=total_steps,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
            smoothing=0.01,
            disable=not self._terminal,
        )
        self._last_time = time.monotonic()
        self._last_step = 0
        self._pending = ""

    def update(self, step: int, shown: Mapping[str, str]) -> None:
        """Move to environment step `step` and show `shown` beside it."""
        text = ", ".join(f"{name} {value}" for name, value in shown.items())
        if self._terminal:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        speed = (step - self._last_step) / max(now - self._last_time, 1e-9)
        left = tqdm.format_interval((self._total - step) / speed) if speed > 0 else "?"
        self._pending = f"step {step:,} of {self._total:,}, {speed:,.0f} steps/s, {left} left, {text}"
        due = (
            now - self._last_time >= self.MIN_SECONDS and (step - self._last_step) * self.LINES >= self._total
        )
        if due or self._last_step < self._total <= step:
            self.say(self._pending)
            self._pending, self._last_time, self._last_step = "", now, step

    def say(self, line: str) -> None:
        """Print `line` on stdout without tearing the bar."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """End the bar, or print the last line that was held back; later calls do nothing."""
        self._bar.close()
        if self._pending:
            self.say(self._pending)
            self._pending = ""


def write_environment(run_dir: Path) -> Path:
    """Write environment.txt, one "name: value" line for each version, the processor and the git revision."""
    path = run_dir / "environment.txt"
    path.write_text(
        "".join(f"{name}: {value}\n" for name, value in describe_environment().items()), encoding="utf-8"
    )
    return path
