"""Runs that end at a score, and ACER beside its peer, in turn."""

from __future__ import annotations

import in_turn
import pytest
from rows import runs
from rows.results_table import COLUMNS, Point, append_row, decode_curve, encode_curve, read_rows
from test_benchmarks_runs import Scripted, started

from acer_robot.errors import InputError


def test_run_ends_when_its_goal_is_reached(tmp_path):
    names = [("endless", 1.0), ("ok", 1.5), ("killed", 1.5)]
    plan = [Scripted(name, 0, tmp_path / "log", until) for name, until in names]
    assert runs.run_all(plan, tmp_path / "table.csv") == 1  # the one that somebody else stopped
    rows = read_rows(tmp_path / "table.csv")
    assert [(row["learner"], row["overrides"], row["status"]) for row in rows] == [
        ("endless", "until=1", "ok"),
        ("ok", "until=1.5", "ok"),
    ]
    assert [len(decode_curve(row["curve"])) for row in rows] == [2, 2]
    assert runs.run_all(plan[:2], tmp_path / "table.csv") == 0
    assert len(started(tmp_path)) == 3


def test_acer_and_its_peer_take_turns_with_the_same_threads():
    plan = in_turn.plan("walker2d", 3188.0, [0, 1], threads=2)
    assert [(run.seed, run.learner) for run in plan] == [
        (0, "sb3_sac"),
        (0, "acer"),
        (1, "sb3_sac"),
        (1, "acer"),
    ]
    assert plan[0].arguments()[-2:] == ["--threads", "2"]
    assert {"threads=2", "learner.compile=true", "steps=300000"} <= set(plan[1].arguments())
    assert plan[0].key[2] == plan[1].key[2] == "threads=2 until=3188"
    assert len({run.name for run in [*plan, *in_turn.plan("walker2d", 3188.0, [0, 1], threads=1)]}) == 8


def row(learner, seed, *points):
    curve = encode_curve(Point(step, seconds, value) for step, seconds, value in points)
    common = {"steps": "300000", "load": "0.1 1.0", "status": "ok"}
    return {"learner": learner, "seed": str(seed), "curve": curve, **common}


def test_the_ratio_is_of_every_run_to_every_run():
    rows = [
        row("sb3_sac", 0, (10, 50.0, 1.0), (20, 100.0, 9.0)),
        row("sb3_sac", 1, (10, 50.0, 1.0), (20, 200.0, 2.0)),
        row("acer", 0, (10, 30.0, 1.0), (20, 60.0, 8.0)),
    ]
    text = in_turn.summary(rows, 8.0)
    assert "| sb3_sac | 1 | not in 200 (20 steps) | 0.1 1.0 |" in text
    assert text.endswith("\nacer over sb3_sac: 0.45, from 0.30 to 0.60 (2 pairs)")
    rows[-1] = row("acer", 0, (10, 30.0, 1.0))
    assert in_turn.summary(rows, 8.0).endswith("never, from never to never (2 pairs)")


def test_whole_baseline_run_is_compared_by_its_own_score():
    rows = [
        row("sb3_sac", 0, (10, 80.0, 5.0), (270_000, 90.0, 6.0), (280_000, 95.0, 3.0), (300_000, 100.0, 3.0)),
        row("sb3_sac", 1, (20_000, 50.0, 9.0)),
        row("acer", 0, (10_000, 10.0, 3.0), (20_000, 20.0, 4.0)),
        row("acer", 1, (10_000, 7.0, 9.0)),
    ]
    last = in_turn.summary(rows, 8.0).splitlines()[-1]
    assert last == "seconds to the 4 of sb3_sac's seed 0: sb3_sac 80, acer 20"
    assert "seed 1:" not in in_turn.summary(rows, 8.0)
    rows[2] = row("acer", 0, (10_000, 10.0, 3.0))
    assert in_turn.summary(rows, 8.0).endswith("acer not in 10 (10k steps)")


def test_score_is_the_mean_of_the_baselines_runs(tmp_path, monkeypatch):
    table = tmp_path / "learning.csv"
    monkeypatch.setattr(in_turn, "LEARNING", table)
    for seed, value in (("0", 10.0), ("1", 30.0)):
        row = dict.fromkeys(COLUMNS, "") | {"task": "halfcheetah", "learner": "sb3_sac", "status": "ok"}
        curve = encode_curve([Point(290_000, 1.0, value), Point(300_000, 2.0, value)])
        append_row(table, row | {"seed": seed, "steps": "300000", "curve": curve})
    assert in_turn.own_score("halfcheetah") == 20
    with pytest.raises(InputError, match="no sb3_sac on walker2d to 300,000 steps; give --score"):
        in_turn.own_score("walker2d")
