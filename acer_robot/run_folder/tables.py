"""Tables of numbers in a run folder (metrics.csv, eval.csv): how they are written and read back."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.metrics import ADDED
from acer_robot.run_folder.whole_file import write_whole

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


def cut_table(path: Path, step: int) -> list[str] | None:
    """Drop the rows past environment step `step` and half a row at the end; return the columns, None without any.

    Raises:
        InputError: if it is not a table of numbers with the column "step".
    """
    table = read_table(path)
    if not table:
        path.unlink(missing_ok=True)
        return None
    with path.open(newline="", encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    place = list(table).index("step")
    whole = [line for line in lines[1:] if line.count(",") == lines[0].count(",") and line.endswith("\n")]
    kept = [line for line in whole if float(line.split(",")[place]) <= step]
    write_whole(path, "".join([lines[0], *kept]).encode("utf-8"))
    return [name for name in table if name != "step"]


class CsvTable:
    """A CSV file of numbers whose columns are "step" and then the names of the first row."""

    def __init__(self, path: Path, resumed_at: int | None = None) -> None:
        """Begin a table, or go on with the one at `path`, from environment step `resumed_at`."""
        self.path = path
        self._names = None if resumed_at is None else cut_table(path, resumed_at)
        self._lacks = ADDED - set(self._names) if self._names is not None else frozenset()
        self._file = path.open("x" if self._names is None else "a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Append one row and flush it; a column that `row` lacks stays empty.

        Raises:
            ValueError: if `row` has a name that the first row did not have.
            OSError: naming the file, if it cannot be written.
        """
        if self._names is None:
            self._names = list(row)
            self._writer.writerow(["step", *self._names])
        if self._lacks:  # a former version began the table
            row = {name: value for name, value in row.items() if name not in self._lacks}
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
