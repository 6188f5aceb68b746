"""comparison.html, .md and .csv: runs grouped by task and settings, with intervals over seeds."""

import csv
import importlib.util
import re
import shutil
import time

import numpy as np
import pytest
from run_folders import make_run
from scipy.stats import trim_mean

from acer_robot.deployment.export import NOT_HASHED
from acer_robot.errors import InputError
from acer_robot.reporting import statistics
from acer_robot.reporting.charts import Curve, comparison
from acer_robot.reporting.comparison import write_comparison
from acer_robot.reporting.runs import NO_SETTINGS, find_runs, group
from acer_robot.reporting.statistics import estimate, interquartile_mean
from acer_robot.run_folder.status import write_status


def compare(tmp_path, *patterns):
    write_comparison(patterns, tmp_path / "comparison.html")
    return [(tmp_path / f"comparison.{kind}").read_text() for kind in ("html", "md", "csv")]


@pytest.fixture
def runs(tmp_path):
    for lr, level in ((0.001, 100.0), (0.003, 200.0)):
        for seed in range(3):
            make_run(tmp_path / f"runs/{lr}_{seed}", seed, lr=lr, level=level)
    return tmp_path / "runs"


def test_seeds_of_one_setting_are_one_group(runs):
    found, left_out = find_runs([f"{runs}/*"])
    (settings,) = group(found).values()
    assert left_out == []
    assert [(s.name, [run.seed for run in s.runs]) for s in settings] == [
        ("lr=0.001", [0, 1, 2]),
        ("lr=0.003", [0, 1, 2]),
    ]
    assert settings[0].options == {"learner.lr": 0.001}


def test_options_that_change_no_result_make_no_setting():
    assert {"seed", *NOT_HASHED} <= set(NO_SETTINGS)


def test_options_that_change_no_result_do_not_split(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", 1, checkpoint={"keep": 1}, on_divergence="rollback", stagger=False)
    make_run(tmp_path / "c", 2, collector={"timeout": 5.0}, step_timeout=9.0)
    for seed, precision in ((3, "onednn"), (4, "bf16")):
        folder = make_run(tmp_path / str(seed), seed)
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(
            text.replace("lr: 0.001", f"lr: 0.001\n  precision: {precision}\n  pathwise: 0.0")
        )
    (settings,) = group(find_runs([f"{tmp_path}/*"])[0]).values()
    assert sorted([run.seed for run in setting.runs] for setting in settings) == [[0, 1, 2, 3], [4]]


def test_older_run_has_the_default_of_a_new_option(tmp_path):
    make_run(tmp_path / "old")
    make_run(tmp_path / "new", 1, eval_episodes=10)
    make_run(tmp_path / "other", 2, retired=3)
    (settings,) = group(find_runs([f"{tmp_path}/*"])[0]).values()
    assert [s.name for s in settings] == ["retired=-", "retired=3"]
    assert [run.seed for run in settings[0].runs] == [0, 1]


@pytest.mark.parametrize("ending", ["md", "csv"])
def test_comparison_replaces_no_file_of_another_kind(runs, tmp_path, ending):
    compare(tmp_path, f"{runs}/*")
    compare(tmp_path, f"{runs}/*")  # its own files it does
    (tmp_path / f"comparison.{ending}").write_text("# Results\n")
    with pytest.raises(InputError, match=rf"would replace .*comparison\.{ending}, which is no comparison"):
        compare(tmp_path, f"{runs}/*")
    assert (tmp_path / f"comparison.{ending}").read_text() == "# Results\n"


def test_page_has_scores_with_intervals(runs, tmp_path):
    page, text, _ = compare(tmp_path, f"{runs}/*")
    assert "<td>131.0 [130.0, 132.0] (3)</td>" in page
    assert (
        "| lr=0.003 | 3 finished | 0, 1, 2 | 231.0 [230.0, 232.0] (3) | 221.0 [220.0, 222.0] (3) | - |"
        in text
    )
    assert "| learner.lr | 0.001 | 0.003 |" in text
    assert "- numpy: 2.4.6" in text
    assert re.search(r"- torch: 2\.1 in 0\.001_1, 0\.003_1", text)


def test_page_needs_no_network(runs, tmp_path):
    page, *_ = compare(tmp_path, f"{runs}/*")
    assert "://" not in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count('<svg role="img" aria-label="Return over') == 4
    assert '<li><span class="swatch"' in page


def test_every_run_is_a_row_of_the_table(runs, tmp_path):
    *_, table = compare(tmp_path, f"{runs}/*")
    rows = list(csv.DictReader(table.splitlines()))
    assert len(rows) == 6
    assert rows[5] == {
        "task": "gymnasium/Robot-v1", "setting": "lr=0.003", "seed": "2", "status": "finished", "steps": "3000",
        "of": "3000", "last_return": "232.0", "best_return": "232.0", "exported_file": "", "seconds": "300.0",
        "folder": f"{runs}/0.003_2",
    }  # fmt: skip


def test_running_run_is_shown_and_does_not_count(runs, tmp_path):
    make_run(runs / "now", 9, until=2000, level=9000.0)
    page, text, _ = compare(tmp_path, f"{runs}/*")
    assert "3 finished, 1 running or interrupted" in page
    assert "131.0 [130.0, 132.0] (3)" in page
    assert "running or interrupted | 2,000 | 3,000 |" in text


def test_runs_that_have_just_begun_are_compared(tmp_path):
    make_run(tmp_path / "runs/a", until=1)
    (make_run(tmp_path / "runs/b", 1) / "eval.csv").unlink()
    page, *_ = compare(tmp_path, f"{tmp_path}/runs/*")
    assert "2 running or interrupted" in page


def test_failed_run_does_not_count(runs, tmp_path):
    (make_run(runs / "bad", 5, level=9000.0) / "error.txt").write_text("NonFiniteError\n")
    page, *_ = compare(tmp_path, f"{runs}/*")
    assert "3 finished, 1 ended with an error" in page
    assert "131.0 [130.0, 132.0] (3)" in page


def test_status_says_whether_a_run_failed(runs, tmp_path):
    """A run that went on after an error counts; one that diverged, without an error.txt of old, does not."""
    (runs / "0.001_0" / "error.txt").write_text("TaskError\n")
    write_status(runs / "0.001_0", "finished")
    write_status(make_run(runs / "diverged", 5, level=9000.0), "failed")
    page, *_ = compare(tmp_path, f"{runs}/*")
    assert "3 finished, 1 ended with an error" in page
    assert "131.0 [130.0, 132.0] (3)" in page


def test_one_run_has_no_interval(tmp_path):
    page, *_ = compare(tmp_path, str(make_run(tmp_path / "a=(1), ümlaut")))
    assert "Comparison of 1 run<" in page
    assert "<td>130.0 (1)</td>" in page


def test_tasks_are_averaged_by_setting(runs, tmp_path):
    for lr, level in ((0.001, 470.0), (0.003, 220.0)):
        make_run(runs / f"other_{lr}", 0, task="Other-v1", lr=lr, level=level)
    _, text, _ = compare(tmp_path, f"{runs}/*")
    assert "Over 2 tasks" in text
    assert f"| lr=0.001 | {(1.0 + 130 / 231) / 2:.2f} (1) |" in text
    assert f"| lr=0.003 | {(0.5 + 230 / 231) / 2:.2f} (1) |" in text


def test_settings_with_long_names_are_not_mixed_over_tasks(tmp_path):
    names = [f"an_option_with_a_long_name_{i}" for i in range(4)]
    for task, order in (("A-v1", (1, 0)), ("B-v1", (0, 1))):
        for place, better in enumerate(order):
            options = dict.fromkeys(names, better)
            level = 1000.0 if better else 100.0
            make_run(tmp_path / f"runs/{task}_{place}", 0, task=task, level=level - 30.0, **options)
    _, text, _ = compare(tmp_path, f"{tmp_path}/runs/*")
    shares = re.findall(r"^\| (setting \d) \| (\S+) \(1\) \|$", text, re.MULTILINE)
    assert shares == [("setting 1", "1.00"), ("setting 2", "0.10")]
    assert "setting 3" not in text


def test_tasks_with_negative_returns_have_no_share(runs, tmp_path):
    for lr, level in ((0.001, 470.0), (0.003, 220.0)):
        make_run(runs / f"other_{lr}", 0, task="Other-v1", lr=lr, level=level)
        make_run(runs / f"costs_{lr}", 0, task="Costs-v1", lr=lr, level=-level)
    _, text, _ = compare(tmp_path, f"{runs}/*")
    assert "Over 2 tasks" in text
    assert "the first seeds of each task" in text
    assert "without gymnasium/Costs-v1, where no setting is above 0" in text


def test_curves_without_a_middle_have_few_ticks():
    runs = [(np.array([100.0, 300.0]), np.ones(2), True), (np.array([2000.0, 6000.0]), np.ones(2), True)]
    none = np.zeros(0)
    drawn = comparison([Curve("#000000", "-", none, none, none, none, runs)], "time of training", False)
    assert 2 <= drawn.count('id="xtick') <= 12


def test_foreign_and_damaged_folders_are_left_out_by_name(runs, tmp_path):
    (runs / "foreign").mkdir()
    (runs / "notes.txt").write_text("x")
    (make_run(runs / "torn") / "eval.csv").write_bytes(b"\xff\xfe\x00")
    (runs / "no_task").mkdir()
    (runs / "no_task/config.yaml").write_text("seed: 1\n")
    page, text, _ = compare(tmp_path, f"{runs}/*")
    assert "3 left out" in page
    assert "notes.txt" not in page
    for name, reason in (
        ("foreign", "is not a run folder"),
        ("torn/eval.csv", "is damaged"),
        ("no_task", "names no task, seed and steps"),
    ):
        assert re.search(rf"- \S*{re.escape(name)} .*{reason}", text), name


@pytest.mark.parametrize(
    ("patterns", "out", "message"),
    [
        (["{}/none"], "c.html", "none is not a run folder: it has no config"),
        (["{}/none*"], "c.html", "matches no folder; give folders that acer-train wrote"),
        (["{}/fo*"], "c.html", "has no run folder: .*foreign is not a run folder"),
        (["{}/torn"], "c.html", "eval.csv is damaged"),
        (["{}/0.*"], "c.pdf", "give a name that ends in .html"),
        (["{}/0.*"], "notes.txt/c.html", "is a file, or lies below one"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(runs, patterns, out, message):
    (runs / "foreign").mkdir()
    (runs / "notes.txt").write_text("x")
    (make_run(runs / "torn") / "eval.csv").write_text("[]")
    before = sorted(runs.rglob("*"))
    with pytest.raises(InputError, match=message) as refused:
        write_comparison([pattern.format(runs) for pattern in patterns], runs / out)
    assert "\n" not in str(refused.value)
    assert sorted(runs.rglob("*")) == before


def test_a_folder_that_is_named_twice_is_one_run(runs):
    assert len(find_runs([f"{runs}/*", f"{runs}/0.001_0"])[0]) == 6


def test_name_with_a_bracket_is_a_folder(tmp_path):
    make_run(tmp_path / "run[1]")
    assert len(find_runs([str(tmp_path / "run[1]")])[0]) == 1


def test_the_same_runs_give_the_same_files(runs, tmp_path):
    assert compare(tmp_path, f"{runs}/*") == compare(tmp_path, f"{runs}/*")


def test_middle_is_the_trimmed_mean():
    values = np.random.default_rng(0).normal(size=(7, 3, 4))
    expected = [trim_mean(values[:, :, i], 0.25, axis=None) for i in range(4)]
    np.testing.assert_allclose(interquartile_mean(values), expected)


def test_interval_covers_the_mean_about_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(20, 1, 300))
    found = estimate(draws)
    covered = ((found.low < 0.0) & (found.high > 0.0)).mean()
    assert 0.88 < covered < 0.98


def test_strata_are_drawn_on_their_own():
    """The runs of two tasks are no pairs: a pairwise draw would keep each sum at 0, and the interval without width."""
    level = np.arange(8.0) - 3.5
    found = estimate(np.stack([level, -level], axis=1)[:, :, None])
    assert found.middle == 0.0
    assert found.low < -0.2
    assert found.high > 0.2


@pytest.mark.extras
@pytest.mark.skipif(importlib.util.find_spec("rliable") is None, reason="the extra stats is not installed")
def test_rliable_agrees_with_the_plain_interval():
    values = np.random.default_rng(0).normal(size=(8, 2, 3))
    np.testing.assert_allclose(statistics._rliable(values), statistics._plain(values), atol=0.1)


def test_twenty_long_runs_are_fast(tmp_path):
    first = make_run(tmp_path / "runs/0", steps=200_000)
    for seed in range(1, 20):
        shutil.copytree(first, tmp_path / f"runs/{seed}")
        config = (first / "config.yaml").read_text().replace("seed: 0", f"seed: {seed}")
        (tmp_path / f"runs/{seed}/config.yaml").write_text(config)
    start = time.process_time()
    compare(tmp_path, f"{tmp_path}/runs/*")
    assert time.process_time() - start < 20.0
