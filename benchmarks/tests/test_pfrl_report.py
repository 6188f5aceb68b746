"""The comparison with PFRL: which runs are compared, and what the table says of them."""

from __future__ import annotations

import pfrl_acer
import pytest
from reports import pfrl_report
from rows.results_table import COLUMNS, Point, encode_curve

from acer_robot.errors import InputError


def row(learner, envs, seed, seconds, values, overrides="", steps=5_000, status="ok"):
    points = [
        Point(steps // len(values) * (i + 1), seconds * (i + 1) / len(values), v)
        for i, v in enumerate(values)
    ]
    common = f"num_envs={envs} learner.poisson=false learner.replay_size=20000"
    return dict.fromkeys(COLUMNS, "") | {
        "task": "Pendulum-v1",
        "learner": learner,
        "seed": str(seed),
        "steps": str(steps),
        "curve": encode_curve(points),
        "status": status,
        "overrides": f"{common} {overrides}".strip(),
        "machine": "a machine",
        "versions": "python 3",
    }


def line_of(text, *words):
    (line,) = [
        line for line in text.splitlines() if line.startswith("|") and all(f"| {w} " in line for w in words)
    ]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_speeds_are_compared_seed_by_seed():
    rows = [row("pfrl", 1, 0, 100.0, [0.0]), row("pfrl", 1, 1, 300.0, [0.0])]
    rows += [row("paper", 1, 0, 10.0, [0.0]), row("paper", 1, 1, 15.0, [0.0])]
    text = pfrl_report.speed_table(pfrl_report.group(rows))
    steps, replayed, ratio = line_of(text, "paper", "1")[3:]
    assert ratio == "15.0 (10.0 to 20.0)"
    assert steps == "417"  # the mean of 5000 / 10 and 5000 / 15
    assert replayed == "1,333"  # four replays of the 4,000 steps from the 1,000th on
    assert line_of(text, "pfrl", "1")[5] == "1.0 (1.0 to 1.0)"


def test_the_replay_ratio_of_a_case_counts():
    rows = [row("paper", 16, 0, 10.0, [0.0], "learner.replay_ratio=16")]
    assert line_of(pfrl_report.speed_table(pfrl_report.group(rows)), "paper", "16")[4:] == ["6,400", "-"]


def test_runs_with_other_settings_are_not_mixed():
    rows = [row("pfrl", 1, 0, 50.0, [-5.0] * 5), row("pfrl", 1, 1, 50.0, [-7.0] * 5, "learner.gamma=0.95")]
    text = pfrl_report.returns_table(pfrl_report.group(rows))
    assert line_of(text, "pfrl", "1", "Pendulum-v1, 5,000; as listed")[-1] == "-5 (one seed)"
    assert line_of(text, "pfrl", "1", "Pendulum-v1, 5,000; gamma 0.95")[-1] == "-7 (one seed)"


def test_returns_at_equal_steps_with_students_interval():
    """The quantile of two degrees of freedom is 4.303; std 2 of three seeds."""
    rows = [row("paper", 1, seed, 10.0, [1.0, 2.0, 3.0, 4.0, 10.0 + 2 * seed]) for seed in range(3)]
    cells = line_of(pfrl_report.returns_table(pfrl_report.group(rows)), "paper", "1")
    assert cells[3:] == ["3", "1 ± 0", "2 ± 0", "12 ± 5"]


def test_a_failed_run_is_named_and_counts_nowhere():
    rows = [
        row("paper", 1, 0, 10.0, [1.0] * 5),
        row("paper", 1, 1, 10.0, [9.0], status="exit status 1: boom"),
    ]
    text = pfrl_report.report(rows)
    assert "Pendulum-v1 paper seed 1: exit status 1: boom" in text
    assert line_of(text, "paper", "1", "Pendulum-v1, 5,000; as listed")[-1] == "1 (one seed)"


def test_both_learners_get_the_same_options():
    runs = pfrl_acer.plan(2, ["Pendulum-v1"])
    assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert len({run.key for run in runs}) == 6
    theirs, ours, many = ({*run.arguments()} for run in runs[:3])
    assert theirs ^ ours == {"pfrl", "paper"}
    assert ours ^ many == {"num_envs=1", "num_envs=16"}
    assert {"task=gym", "task.id=Pendulum-v1", "learner=paper", "learner.gamma=0.95", "threads=1"} <= theirs
    assert runs[0].arguments()[:3] == ["benchmarks/pfrl_acer.py", "train", "pfrl"]


def test_a_task_without_settings_is_refused():
    with pytest.raises(
        InputError, match="Hopper-v5: there are settings for HalfCheetah-v5, Pendulum-v1 only"
    ):
        pfrl_acer.plan(1, ["Pendulum-v1", "Hopper-v5"])
