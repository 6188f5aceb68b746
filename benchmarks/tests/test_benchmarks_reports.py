"""Reports of the benchmarks: the rule can say all it may say, and what is written follows from the rows."""

from __future__ import annotations

import math

import learning
import numpy as np
import paper
import paper_scale
import pytest
from reports import learning_pictures, learning_report, learning_rows, paper_report
from reports.paper_claims import CLAIMS, HUMANOID, Claim, compare, decide, scales
from rows import curves
from rows.curves import NOT_REPRODUCED, NOT_RESOLVED, REPRODUCED
from rows.results_table import COLUMNS, Point, encode_curve
from scipy import stats

from acer_robot.errors import InputError

UNTRAINED = " ".join(paper.UNTRAINED)


def areas(**learners):
    """Areas on one task, whose scale is 100."""
    known = {name: np.array(values, dtype=float) for name, values in learners.items()}
    return {"dmc/cheetah-run": known | {"best": np.array([110.0, 110.0]), "untrained": np.array([10.0])}}


def row(task, learner, seed, steps, values, status="ok", overrides="", every=20_000):
    points = [Point(every * (i + 1), float(i + 1), value) for i, value in enumerate(values)]
    return dict.fromkeys(COLUMNS, "") | {
        "task": task,
        "learner": learner,
        "seed": str(seed),
        "steps": str(steps),
        "curve": encode_curve(points),
        "status": status,
        "overrides": overrides,
        "load": "0.5 1.5",
        "command": f"python train {learner}",
    }


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([80, 82, 81], [50, 52, 54], REPRODUCED),
        ([50, 52, 54], [80, 82, 81], NOT_REPRODUCED),
        ([50, 52, 54], [51, 50, 60], NOT_RESOLVED),
        ([80, 82, 30], [50, 52, 54], NOT_RESOLVED),  # a difference of 12, within the spread
        ([80], [50, 52, 54], NOT_RESOLVED),  # one seed has no spread
    ],
)
def test_the_rule_says_all_three(first, second, said):
    decision, _ = decide(Claim("", (("a", "b"),)), areas(a=first, b=second))
    assert decision == said


def test_a_claim_of_several_pairs_needs_all_and_falls_with_one():
    known = areas(a=[80, 82], b=[50, 52], c=[80, 83], d=[100, 101])
    assert decide(Claim("", (("a", "b"), ("c", "b"))), known)[0] == REPRODUCED
    assert decide(Claim("", (("a", "b"), ("c", "a"))), known)[0] == NOT_RESOLVED
    assert decide(Claim("", (("a", "b"), ("a", "d"))), known)[0] == NOT_REPRODUCED


def test_retrace_matters_most_if_its_loss_costs_most():
    claim = next(claim for claim in CLAIMS if claim.text == "Retrace matters most")
    others = {"paper_no_trust_region": [80, 82], "paper_no_sdn": [90, 91], "paper_no_truncation": [99, 98]}
    assert decide(claim, areas(**others, paper_no_retrace=[40, 42]))[0] == REPRODUCED
    assert decide(claim, areas(**others, paper_no_retrace=[85, 86]))[0] != REPRODUCED
    assert decide(claim, areas(**others, paper_no_retrace=[97, 97.5]))[0] == NOT_REPRODUCED


def test_differences_are_in_units_of_the_tasks_scale():
    estimate, used = compare(areas(a=[60, 60], b=[35, 35]), ("a", "b"))
    assert (estimate.mean, used) == (pytest.approx(0.25), ["dmc/cheetah-run"])


def test_unlearnt_task_does_not_count():
    flat = {name: np.array([20.0, 20.0]) for name in ("a", "b")}
    known = {
        "dmc/fish-swim": flat | {"untrained": np.array([5.0])},
        "dmc/walker-walk": {"a": np.array([90.0])},
    }
    assert scales(known) == {}
    assert scales({"walker2d": flat | {"a": np.array([240.0]), "untrained": np.array([0.0])}}) == {}
    assert scales({"x": flat | {"a": np.array([240.0]), "untrained": np.array([40.0])}}) == {"x": 200.0}
    assert decide(Claim("", (("a", "b"),)), known) == (NOT_RESOLVED, ["a - b: no task counts"])


def test_claim_of_high_dimensions_is_about_the_humanoid():
    claim = next(claim for claim in CLAIMS if claim.tasks == HUMANOID)
    better = areas(paper=[90, 91], paper_no_truncation=[20, 21])
    assert decide(claim, better)[0] == NOT_RESOLVED
    assert decide(claim, {HUMANOID[0]: better["dmc/cheetah-run"]})[0] == REPRODUCED


def test_the_interval_is_welchs():
    first, second = np.array([3.0, 5.0, 9.0]), np.array([1.0, 1.5])
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    estimate = curves.mean_difference([(first, second)])
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    expected = stats.ttest_1samp(first, 0.0).confidence_interval(0.95)
    assert (curves.mean_of(first).low, curves.mean_of(first).high) == pytest.approx(
        (expected.low, expected.high)
    )


def test_interval_over_tasks_covers_as_often_as_it_says():
    random, held = np.random.default_rng(0), 0
    for _ in range(2_000):
        pairs = [(random.normal(0.3, scale, 3), random.normal(0.0, 0.5, 3)) for scale in (0.2, 1.0, 0.5)]
        estimate = curves.mean_difference(pairs)
        held += estimate.low < 0.3 < estimate.high
    assert 0.93 < held / 2_000 < 0.985


def test_a_run_that_stopped_early_counts_as_zero_from_there_on():
    steps = curves.grid(100_000, 20_000)
    whole = row("t", "l", 0, 100_000, [10, 20, 30, 40, 50])
    failed = row("t", "l", 0, 100_000, [10, 20], status="exit status 1: nan")
    assert curves.returns_at(whole, steps).tolist() == [10, 20, 30, 40, 50]
    assert curves.returns_at(failed, steps).tolist() == [10, 20, 0, 0, 0]
    assert (curves.area(whole, steps), curves.area(failed, steps)) == (30, 6)
    assert curves.score(whole, curves.grid(400_000, 20_000)) == 50
    assert curves.area(row("t", "l", 0, 100_000, [], status="exit status 1: nan"), steps) == 0


def paper_rows():
    levels = {"paper": 400, "a3c": 100, "tis": 120, "paper_no_sdn": 395}
    made = [
        row("dmc/cheetah-run", name, seed, 300_000, [level + 9 * seed + i for i in range(15)])
        for name, level in levels.items()
        for seed in range(3)
    ]
    stopped = row("dmc/cheetah-run", "a3c", 3, 300_000, [100] * 4, status="exit status 1: loss/q is nan")
    untrained = row("dmc/cheetah-run", "paper", 0, 1_000, [2.0], overrides=UNTRAINED, every=1_000)
    other = row("dmc/cheetah-run", "paper", 9, 300_000, [999.0], overrides="learner.lr=1")
    return [*made, stopped, untrained, other, row("dmc/fish-swim", "paper", 0, 1_000, [1.0])]


def test_the_papers_report_follows_from_the_rows(tmp_path):
    paths = paper_report.report(paper_rows(), 300_000, UNTRAINED, paper.TASKS, tmp_path)
    text = paths[0].read_text()
    assert f"| ACER is above A3C | **{REPRODUCED}** |" in text
    assert f"| the SDN helps | **{NOT_RESOLVED}** |" in text
    assert "| paper | 422 ± 22 (3) |" in text  # the last of 14 + 9 seed + 400 and the one before
    assert "| untrained | 2 (1) |" in text
    assert (
        "a3c on dmc/cheetah-run, seed 3: exit status 1: loss/q is nan; last evaluated at step 80,000" in text
    )
    assert "fish-swim" not in text
    for path in paths[1:]:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_report_without_runs_says_so(tmp_path):
    with pytest.raises(InputError, match=r"paper.csv has no run of 500000 steps"):
        paper_report.report(paper_rows(), 500_000, UNTRAINED, paper.TASKS, tmp_path)
    with pytest.raises(InputError, match=r"--steps 4000 is too few; expected at least 20000"):
        paper_report.report(paper_rows(), 4_000, UNTRAINED, paper.TASKS, tmp_path)
    with pytest.raises(InputError, match=r"learning.csv has no run yet"):
        learning_report.report([], learning.LEARNERS, learning.GYMNASIUM, learning.DM_CONTROL, tmp_path)


def test_longest_run_of_a_seed_counts():
    short = row("halfcheetah", "acer", 0, 100_000, [1.0] * 10, every=10_000)
    long = row("halfcheetah", "acer", 0, 300_000, [float(i) for i in range(1, 31)], every=10_000)
    found = learning_rows.collect([short, long], learning.GYMNASIUM)
    assert found == {"halfcheetah": {"acer": [long]}}
    assert paper_report.collect([short, long], 100_000, UNTRAINED, paper.TASKS) == found
    tried = long | {"overrides": "learner.lr=1"}
    variant = long | {"overrides": "learner.deployed_alpha=null"}
    of_another = variant | {"learner": "acer_steady"}
    found = learning_rows.collect([of_another, short, long, tried, variant], learning.GYMNASIUM)
    assert found == {"halfcheetah": {"acer": [long], "acer, theta_avg exported": [variant]}}
    assert learning_rows.scores([long], 100_000).tolist() == [9.5]
    assert learning_rows.scores([long], 300_000).tolist() == [28.5]
    assert learning_rows.scores([long], 500_000).tolist() == []


def test_seconds_to_a_score_end_at_its_first_evaluation():
    run = row("halfcheetah", "acer", 0, 50_000, [1.0, 5.0, 3.0, 6.0], every=10_000)
    assert [learning_rows.seconds_to(run, goal) for goal in (5.0, 5.5)] == [2.0, 4.0]
    assert learning_rows.seconds_to(run, 7.0) == math.inf
    shown = [learning_rows.time_shown(run, goal) for goal in (5.0, 7.0)]
    assert shown == ["2", "not in 4 (40k steps)"]


def test_falls_are_the_evaluations_below_a_limit_from_a_step_on():
    run = row("walker2d", "acer", 0, 50_000, [1.0, 5.0, 3.0, 4.0, 6.0], every=10_000)
    assert learning_rows.fallen(run, 4.0, 10_000) == "1 of 4 (lowest 3)"  # it had yet to learn at 10,000
    assert learning_rows.fallen(run, 4.0, 40_000) == "0 of 2 (lowest 4)"
    assert learning_rows.fallen(run, 7.0, 10_000) == ""


def test_picture_has_a_curve_of_every_learner():
    names = [f"learner {i}" for i in range(len(curves.COLORS) + 2)]
    found = {"halfcheetah": {name: [row("halfcheetah", name, 0, 60_000, [1.0, 2.0, 3.0])] for name in names}}
    drawn = learning_pictures.picture(found, names, by_seconds=False).axes[0].get_legend_handles_labels()
    assert set(names) <= set(drawn[1])


def test_every_learner_of_the_report_has_a_colour_of_its_own():
    names = {"acer", "sb3_sac", "sb3_ppo", "acer_exploring", "acer_steady", *learning_rows.VARIANTS.values()}
    assert len(set(curves.colors_of(sorted(names)).values())) == len(names)


def test_command_gets_its_rows_override_once():
    run = row("t", "acer", 0, 100_000, [1.0], overrides="learner.lr=1 learner.c=2")
    text = curves.provenance([run | {"command": "python train learner.c=2"}])
    assert "```\npython train learner.c=2 learner.lr=1\n```" in text


def test_the_learning_report_follows_from_the_rows(tmp_path, monkeypatch):
    pytest.importorskip("rliable", reason="in the extra `benchmarks`")
    speeds = {"acer": 30.0, "sb3_sac": 10.0}
    made = [
        row(task, name, seed, 300_000, [speed * i + seed for i in range(1, 31)], every=10_000)
        for task in learning.GYMNASIUM
        for name, speed in speeds.items()
        for seed in range(3)
    ]
    made.append(
        row("walker2d", "acer", 7, 100_000, [4.0] * 8 + [6.0, 8.0], overrides="learner.lr=1", every=10_000)
    )
    monkeypatch.setitem(learning_report.FALLS, "walker2d", 30.0)
    paths = learning_report.report(made, learning.LEARNERS, learning.GYMNASIUM, learning.DM_CONTROL, tmp_path)
    text = paths[0].read_text()
    assert "| acer | 286 [285, 287] (3) | 571 [570, 572] (3) | 856 [855, 857] (3) |" in text
    assert "| acer | 1.00 [" in text  # 286 of SAC's 286 at 300k
    assert "| walker2d | acer | lr=1 | 7 | 100k | 7 |  |  |  |  |" in text  # and is in no mean above
    assert "| halfcheetah | 286 (sb3_sac at 300k) | acer | 10, 10, 10 |" in text
    assert "| walker2d | 30 | acer | 2 | 0 of 21 (lowest 302) |  |" in text
    for path in paths[1:]:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_an_interval_is_the_same_in_every_report():
    pytest.importorskip("rliable", reason="in the extra `benchmarks`")
    values = np.random.default_rng(0).normal(size=(3, 2))
    assert learning_report.interquartile_mean(values) == learning_report.interquartile_mean(values)


def test_settings_are_drawn_within_the_papers_ranges():
    drawn = [
        [float(option.partition("=")[2]) for option in paper_scale.setting(index)] for index in range(300)
    ]
    deltas, rates = np.array(drawn).T
    assert 0.1 <= deltas.min() < 0.15
    assert 1.95 < deltas.max() <= 2.0
    assert 1e-4 <= rates.min() < 1.05e-4
    assert 4.8e-4 < rates.max() <= 5e-4
    assert np.median(rates) == pytest.approx(math.sqrt(5) * 1e-4, rel=0.1)  # log-uniform
    first, second = paper_scale.plan(1_000_000, [0, 1], ["dmc/cheetah-run"], ["paper"])
    assert (first.seed, second.seed) == (0, 1)
    assert first.overrides != second.overrides


def test_report_at_the_papers_scale_has_every_setting(tmp_path):
    rows = [
        row("dmc/cheetah-run", learner, seed, 200_000, [0.0, 0.0, 0.0, high + seed], every=50_000)
        for seed in range(2)
        for learner, high in (("paper", 600.0), ("a3c", 10.0), ("tis", 599.0))
    ]
    untrained = [row("dmc/cheetah-run", "paper", 0, 1_000, [0.0], every=1_000)]
    paper_scale.report(rows, untrained, 200_000, tmp_path)
    text = (tmp_path / "paper_scale.md").read_text()
    assert "| dmc/cheetah-run | a3c | 10 | 11 | 10 | **11** |" in text
    assert "| 1 | 0.355 | 0.000391 |" in text
    assert "| ACER is above A3C | **reproduced** | paper - a3c: +0.98 [" in text
    assert "| ACER is above TIS | **not resolved at this budget** | paper - tis: +0.00 [" in text
    assert "both with a trust region" not in text  # its learners are not among these
    assert (tmp_path / "paper_scale.png").stat().st_size > 1000
    with pytest.raises(InputError, match="no run of 300000 steps"):
        paper_scale.report(rows, untrained, 300_000, tmp_path)


def test_kept_default_counts_among_what_others_had_before():
    rows = [row("dmc/fish-swim", "acer", 0, 100_000, [500.0] * 5)]
    found = learning_rows.collect(rows, ["dmc/fish-swim"])
    assert learning_rows.runs_of(found, "dmc/fish-swim", "acer, no embedding") == rows
    assert learning_rows.runs_of(found, "dmc/fish-swim", "acer, embedding") == ()
    family = learning_report.Family("one task", ("dmc/fish-swim",), (1_000.0,))
    table = learning_report.family_table(found, family, ["acer", "acer, no embedding", "sb3_sac"])
    assert [line.split(" | ")[:2] for line in table.splitlines()[2:]] == [
        ["| acer", "0.50 (1)"],
        ["| acer, no embedding", "0.50 (1)"],
    ]
