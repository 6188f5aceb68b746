"""Tables of numbers in a run folder (metrics.csv, eval.csv): how they are written and read back."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from acer_robot.errors import DAMAGE, InputError, first_line

Table = dict[str, list[float]]
REMEDY = "restore it from a copy, or remove it to go on without it"


def read_table(path: Path) -> Table:
    """Read a CSV file of numbers by columns; an empty cell is NaN, and a missing file has no columns.

    Raises:
        InputError: if it is not a table of numbers with the column "step".
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        complete = [
            row for row in rows if len(row) == len(header)
        ]  # an interrupted run may end in half a row
        table = {name: [float(row[i] or "nan") for row in complete] for i, name in enumerate(header)}
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {first_line(error)}; {REMEDY}") from error
    if header and ("step" not in table or len(table) != len(header)):
        raise InputError(
            f"{path} is damaged: its first line is not step and other names, once each; {REMEDY}"
        )
    if not all(map(math.isfinite, table.get("step", []))):
        raise InputError(f"{path} is damaged: a step is not a number; {REMEDY}")
    return table


def best_evaluation(evaluations: Table) -> tuple[float, int] | None:
    """Return the highest return in eval.csv and its step; of equals, the later one, as checkpoints/best.pt."""
    pairs = zip(evaluations.get("eval/return_mean", ()), evaluations.get("step", ()), strict=True)
    known = [(value, int(step)) for value, step in pairs if not math.isnan(value)]
    return max(known, default=None)


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
            OSError: naming the file, if it cannot be written.
        """
        if self._names is None:
            self._names = list(row)
            self._writer.writerow(["step", *self._names])
        if unknown := [name for name in row if name not in self._names]:
            raise ValueError(
                f"{self.path.name} has no column {', '.join(unknown)}; its first row fixed its columns"
            )
        self._writer.writerow([step, *(float(row[name]) if name in row else "" for name in self._names)])
        try:
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def close(self) -> None:
        """Close the file; later calls do nothing."""
        self._file.close()
