"""The table of runs: which row is of which run, and what another machine's hand may do to the file."""

from __future__ import annotations

from rows import runs
from rows.results_table import COLUMNS, KEY, Point, append_row, encode_curve, has_run, read_rows
from rows.runs import Run


def test_longer_run_has_the_shorter(tmp_path):
    row = dict(zip(KEY, Run("a", "b", 0, 200, ("c=1",)).key, strict=True))
    for steps, has in ((30, True), (200, True), (1000, False)):
        assert has_run([row], Run("a", "b", 0, steps, ("c=1",)).key) == has
    for other in (Run("x", "b", 0, 30, ("c=1",)), Run("a", "b", 1, 30, ("c=1",)), Run("a", "b", 0, 30)):
        assert not has_run([row], other.key)
    append_row(tmp_path / "table.csv", dict.fromkeys(COLUMNS, "") | row)
    assert runs.start(Run("a", "b", 0, 30, ("c=1",)), tmp_path / "table.csv") is None


def test_runs_are_told_apart_by_every_part_of_the_key():
    one = Run("a", "b", 0, 10, ("c=1",))
    others = [
        Run("x", "b", 0, 10, ("c=1",)),
        Run("a", "x", 0, 10, ("c=1",)),
        Run("a", "b", 1, 10, ("c=1",)),
        Run("a", "b", 0, 20, ("c=1",)),
        Run("a", "b", 0, 10, ("c=2",)),
    ]
    assert len(KEY) == len(one.key) == len(others)
    for other in others:
        assert other.key != one.key
        assert other.name != one.name


def test_rows_survive_a_missing_last_newline_and_count_once(tmp_path):
    table = tmp_path / "new" / "table.csv"
    row = dict.fromkeys(COLUMNS, "x") | {"curve": encode_curve([Point(1, 2.0, 3.0)]), "machine": 'a, "b"'}
    append_row(table, row)
    table.write_text(table.read_text().removesuffix("\n"))
    append_row(table, row | {"seed": "1"})
    append_row(table, row | {"status": "computed on another machine"})
    assert read_rows(table) == [row, row | {"seed": "1"}]
