"""The rows of metrics.csv and eval.csv as a TensorBoard log, if the user asks for one."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acer_robot.errors import InputError

FOLDER = "tensorboard"
"""Folder of the log in a run folder."""


def check_tensorboard() -> None:
    """Raise InputError if the extra tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "tensorboard=true needs TensorBoard, which is not installed: pip install 'acer-robot[tensorboard]'; or "
            "leave tensorboard=false"
        )


class TensorBoard:
    """Writes RUN/tensorboard; `tensorboard --logdir RUN/tensorboard` shows it. The x-axis is environment steps."""

    def __init__(self, run_dir: Path, resumed_at: int | None = None) -> None:
        """Begin a log. A run that goes on at a step leaves out what an earlier log has from there on."""
        from torch.utils.tensorboard import SummaryWriter  # its import takes a second

        purge = None if resumed_at is None else resumed_at + 1
        self._writer: Any = SummaryWriter(str(run_dir / FOLDER), purge_step=purge)

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Write each number of `row` that is known."""
        for name, value in row.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
