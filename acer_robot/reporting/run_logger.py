"""What a run reports while it learns: progress, metrics.csv, eval.csv and a Weights & Biases run.

Every x-axis is environment steps, action repeats included.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from acer_robot.interrupt import exit_status
from acer_robot.provenance import this_software
from acer_robot.reporting.health import Watch
from acer_robot.reporting.progress import Progress, say
from acer_robot.reporting.tensorboard import TensorBoard
from acer_robot.reporting.wandb import WandbRun, start_wandb
from acer_robot.reporting.wandb_media import LAST_SECONDS, EvaluationVideos
from acer_robot.run_folder.tables import CsvTable, Table, best_evaluation, read_table
from acer_robot.schema import WandbConfig

EVALUATION_VIDEO, EXPORTED_VIDEO = "eval/video", "exported/video"
"""Names of wandb's videos."""


class RunLogger:
    """Everything a training run reports, in one place; use it as a context manager.

    It flushes each row of metrics.csv and eval.csv, so an interrupted run keeps its rows. The first row of a table
    fixes its columns: give every name from the start, with NaN where there is no value yet.
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
        software = {"software": dataclasses.asdict(this_software())}
        self._wandb_id: str | None = state.get("wandb")
        self._wandb: WandbRun | None = start_wandb(run_dir, wandb_config, config | software, self._wandb_id)
        self._wandb_id = self._wandb.id if self._wandb is not None else self._wandb_id
        every = wandb_config.video_every if config.get("video", True) else 0
        self._videos = EvaluationVideos(run_dir, every) if self._wandb is not None else None
        self._board = TensorBoard(run_dir, step) if config.get("tensorboard") else None
        self._last_step = step or 0
        self._table = read_table(self._evaluations.path)
        self._evaluated = (
            evaluated(self._table) or f"first evaluation at step {config.get('eval_every', total_steps):,}"
        )
        self._watch = Watch(config.get("learner", {}))
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
        for warning in self._watch.new_warnings(step, row, self._table):
            say(warning)
        if self._board is not None:
            self._board.log(step, row)
        if self._wandb is not None:
            self._wandb.log(step, row)
            self._send_video()

    def log_histograms(self, step: int, values: Mapping[str, Sequence[float]]) -> None:
        """Send a histogram of each entry of `values` to wandb, under "histogram/" and its name."""
        if self._wandb is not None:
            self._wandb.log_histograms(step, {f"histogram/{name}": row for name, row in values.items()})

    def log_evaluation(self, step: int, row: Mapping[str, float]) -> None:
        """Append `row` to eval.csv, send it to wandb and print it as one line.

        Raises:
            ValueError: if `row` has a name that the first row did not have.
        """
        self._evaluations.write(step, row)
        self._last_step = step
        self._table = read_table(self._evaluations.path)
        self._evaluated = evaluated(self._table)
        if self._board is not None:
            self._board.log(step, row)
        if self._wandb is not None:
            self._wandb.log(step, row)
            self._wandb.summarise(best_and_last(self._table))
            self._send_video()
        shown = ", ".join(f"{name.removeprefix('eval/')} {value:.5g}" for name, value in row.items())
        say(f"evaluation at step {step:,}: {shown}")

    @property
    def films(self) -> bool:
        """Whether `film` may render the newest checkpoint, which must then be written."""
        return self._videos is not None

    def film(self, step: int) -> None:
        """Let a process of its own render checkpoints/latest.pt for wandb, if the last evaluation is due a video."""
        if self._videos is None:
            return
        try:
            self._videos.begin(step)
        except OSError as error:
            self._videos = None
            say(f"wandb: no videos of evaluations: {error}")

    def _send_video(self, wait: float = 0.0) -> None:
        """Send the video of an evaluation to wandb if one is ready within `wait` seconds."""
        if self._videos is None or self._wandb is None:
            return
        video = self._videos.finished(wait)
        if isinstance(video, str):
            say(f"wandb: no videos of evaluations: {video}")
        elif video is not None:
            step, file = video
            self._wandb.log_video(step, EVALUATION_VIDEO, file, f"environment step {step:,}")

    def progress(self, step: int, learning: bool = True) -> None:
        """Show step, speed, time left, last and best evaluation. A call is cheap enough for every step."""
        self._progress.update(step, self._evaluated, learning)

    def end_progress(self) -> None:
        """End the bar, so that other lines do not tear it."""
        self._progress.close()

    def say(self, line: str) -> None:
        """Print a line without tearing the bar."""
        say(line)

    def close(self, files: Sequence[Path] = (), exit_code: int = 0) -> None:
        """Close bar, tables and wandb run. The wandb run gets `files` (below the run folder) and `exit_code`.

        Later calls do nothing.
        """
        self._progress.close()
        self._metrics.close()
        self._evaluations.close()
        if self._board is not None:
            self._board.close()
            self._board = None
        if self._wandb is not None:
            self._close_wandb(self._wandb, files, exit_code)
            self._wandb = None

    def _close_wandb(self, run: WandbRun, files: Sequence[Path], exit_code: int) -> None:
        """Send the last videos, the score of the exported file, and `files`."""
        if exit_code == 0:
            self._send_video(LAST_SECONDS)
        videos = [file for file in files if file.suffix == ".mp4"]
        for file in videos:
            run.log_video(self._last_step, EXPORTED_VIDEO, file, "the exported policy")
        for file in files:
            if file.name == "evaluation.json":
                run.summarise(exported_score(file))
        run.close([file for file in files if file not in videos], exit_code)
        if self._videos is not None:
            self._videos.close()
            self._videos = None


def best_and_last(evaluations: Table) -> dict[str, float | int]:
    """Return what wandb's summary says of the evaluations so far: the best and the last return, with their steps."""
    best = best_evaluation(evaluations)
    if best is None:
        return {}
    return {
        "best/return_mean": best[0],
        "best/step": best[1],
        "last/return_mean": evaluations["eval/return_mean"][-1],
        "last/step": int(evaluations["step"][-1]),
    }


def evaluated(evaluations: Table) -> str:
    """Return the last and the best evaluation in a few words; nothing where there is none."""
    best = best_evaluation(evaluations)
    if best is None:
        return ""
    last, highest = (
        f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"
        for value in (evaluations["eval/return_mean"][-1], best[0])
    )
    return f"last evaluation {last}, best {highest}"


def exported_score(file: Path) -> dict[str, float | int]:
    """Return what wandb's summary says of the exported file, from evaluation.json."""
    score = json.loads(file.read_text(encoding="utf-8"))
    return {
        f"exported/{name}": score[name] for name in ("return_mean", "return_std", "episodes") if name in score
    }
