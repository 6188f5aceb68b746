"""Benchmark runs: none is lost, none is done twice, whatever else works on the same table or dies on the way."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import learning
import paper
import pytest
from rows import command_line, runs
from rows.results_table import COLUMNS, Point, decode_curve, read_rows, take_claim
from rows.runs import Run

from acer_robot.errors import InputError

# Trains nothing: notes that it ran, leaves an eval.csv, and then does what the learner's name says.
TRAINER = """
import os, signal, sys, time
from pathlib import Path
folder, name, log = Path(sys.argv[3]), sys.argv[1], Path(sys.argv[2])
with log.open("a") as file:
    file.write(f"{os.getpid()}\\n")
if name == "refused":
    sys.exit("acer-robot: error: learner.lr=-1 is out of range")
(folder / "eval.csv").write_text("step,seconds,eval/return_mean\\n10,0.5,1.0\\n20,1.25,-2.5\\n")
if name == "diverges":
    print("a warning", file=sys.stderr)
    sys.exit("acer-robot: error: training stopped: loss/q is nan at environment step 25")
if name == "crashes":
    raise FileNotFoundError(f"{folder}/x, {sys.prefix}/y, {Path.cwd()}/z, {Path.home()}/w")
if name == "killed":
    os.kill(os.getpid(), signal.SIGTERM)
end = time.monotonic() + 20.0
while name == "meets" and len(log.read_text().split()) < 2:
    if time.monotonic() > end:
        sys.exit("alone")
    time.sleep(0.02)
time.sleep({"slow": 0.4, "endless": 60.0}.get(name, 0.0))
if name == "endless":
    with (folder / "eval.csv").open("a") as file:
        file.write("30,60.0,3.0\\n")
"""
WORKER = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parent), str(Path(runs.__file__).parents[1])]!r}
from test_benchmarks_runs import Scripted
from rows import runs
runs.check_names = lambda *names: None
name, seeds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
runs.run_plan([Scripted(name, seed, folder / "log") for seed in range(seeds)], folder / "table.csv", 1)
"""


class Scripted(Run):
    """A run of TRAINER; `log` gets a line for each time that it was started."""

    def __init__(self, learner, seed, log, until=None):
        super().__init__("task", learner, seed, 20, until=until)
        object.__setattr__(self, "log", log)

    def arguments(self):
        return ["-c", TRAINER, self.learner, str(self.log)]

    def destination(self, folder):
        return [str(folder)]


def worker(tmp_path, name, seeds):
    # A worker that is killed leaves its temporary folder behind: here inside pytest's.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen([sys.executable, "-c", WORKER, name, str(seeds), str(tmp_path)], env=environment)


def started(tmp_path):
    log = tmp_path / "log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def wait_for(condition):
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def do(tmp_path, *names, workers=1):
    plan = [Scripted(name, seed, tmp_path / "log") for seed, name in enumerate(names)]
    failed = runs.run_all(plan, tmp_path / "table.csv", workers)
    return failed, read_rows(tmp_path / "table.csv")


def test_a_run_leaves_one_row_and_is_not_done_again(tmp_path):
    _, rows = do(tmp_path, "ok", "ok")
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["status"] == "ok"
    assert decode_curve(rows[0]["curve"]) == [Point(10, 0.5, 1.0), Point(20, 1.2, -2.5)]
    before = (tmp_path / "table.csv").read_bytes()
    failed, _ = do(tmp_path, "ok", "ok", "ok")
    assert failed == 0
    assert len(started(tmp_path)) == 3
    assert (tmp_path / "table.csv").read_bytes().startswith(before)


def test_two_processes_do_each_run_once(tmp_path):
    both = [worker(tmp_path, "slow", 5) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    rows = list(
        csv.DictReader((tmp_path / "table.csv").open())
    )  # not read_rows, which would drop a second row
    assert sorted(row["seed"] for row in rows) == ["0", "1", "2", "3", "4"]
    assert len(started(tmp_path)) == 5


def test_two_workers_of_one_process_run_side_by_side(tmp_path):
    _, rows = do(tmp_path, "meets", "meets", workers=2)
    assert [row["status"] for row in rows] == ["ok", "ok"]


def test_a_run_that_diverged_keeps_its_row_and_its_curve(tmp_path):
    _, rows = do(tmp_path, "diverges", "ok")
    assert [row["status"] for row in rows] == [
        "exit status 1: training stopped: loss/q is nan at environment step 25",
        "ok",
    ]
    assert len(decode_curve(rows[0]["curve"])) == 2
    do(tmp_path, "diverges")
    assert len(started(tmp_path)) == 2


@pytest.mark.parametrize("name", ["refused", "killed"])
def test_a_run_that_was_refused_or_stopped_is_due_again(tmp_path, name):
    failed, rows = do(tmp_path, name, "ok")
    assert failed == 1
    assert [row["learner"] for row in rows] == ["ok"]
    do(tmp_path, name)
    assert len(started(tmp_path)) == 3


def test_a_row_names_no_place_of_this_machine(tmp_path):
    _, rows = do(tmp_path, "crashes")
    for place in (str(runs.ROOT), str(Path.home()), "acer_benchmark_", sys.prefix):
        assert place not in rows[0]["status"]
    assert rows[0]["status"].startswith(
        "exit status 1: FileNotFoundError: TEMPORARY/run/x, PYTHON/y, ./z, HOME"
    )


def test_claim_outlives_a_killed_worker(tmp_path):
    process = worker(tmp_path, "endless", 1)
    wait_for(lambda: started(tmp_path))
    claim = tmp_path / ".claims" / "table" / "endless_task_seed0_20.log"
    process.kill()
    process.wait()
    assert take_claim(claim) is None
    os.kill(started(tmp_path)[0], signal.SIGKILL)
    wait_for(lambda: take_claim(claim) is not None)


def test_stopping_a_worker_ends_its_run(tmp_path):
    process = worker(tmp_path, "endless", 1)
    wait_for(lambda: started(tmp_path))
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    wait_for(lambda: not alive(started(tmp_path)[0]))
    assert read_rows(tmp_path / "table.csv") == []


def test_a_tiny_training_leaves_a_row(tmp_path):
    table = tmp_path / "table.csv"
    runs.run_plan([Run("invertedpendulum", "paper", 3, 2_000, eval_every=1_000)], table, 1)
    (row,) = read_rows(table)
    assert row["status"] == "ok"
    points = decode_curve(row["curve"])
    assert [1_000 <= points[0].step < 1_100, points[-1].step] == [True, 2_000]
    assert 0.0 < points[0].seconds < points[1].seconds
    assert row["command"] == (
        "OMP_NUM_THREADS=1 python -m acer_robot.commands.train task=invertedpendulum learner=paper seed=3 steps=2000 "
        "eval_every=1000 threads=1 wandb.mode=disabled video=false hand_over=false"
    )
    assert "torch 2." in row["versions"]
    assert row["machine"].endswith("cores")
    for place in (str(runs.ROOT), str(tmp_path), "acer_benchmark_"):
        assert place not in " ".join(row.values())


def test_plans_do_all_of_a_seed_before_the_next():
    everything = (list(paper.TASKS), list(paper.LEARNERS))
    plan = paper.plan(1_000, range(2), *everything)
    assert [run.seed for run in plan] == sorted(run.seed for run in plan)
    trained = [run for run in plan if not run.overrides]
    assert {(run.task, run.learner) for run in trained[: len(trained) // 2]} == {
        (task, learner) for task in paper.TASKS for learner in paper.LEARNERS
    }
    plan = learning.plan(None, range(2), ["halfcheetah", "dmc/walker-run"], list(learning.LEARNERS))
    assert ["learner.compile=true" in run.arguments() for run in plan[:2]] == [True, False]
    assert [(run.seed, run.task, run.learner, run.steps) for run in plan[:4]] == [
        (0, "halfcheetah", "acer", 300_000),
        (0, "halfcheetah", "sb3_sac", 300_000),
        (0, "halfcheetah", "sb3_ppo", 1_000_000),
        (0, "dmc/walker-run", "acer", 500_000),
    ]


def test_overrides_reach_the_command_and_the_key_of_every_run():
    narrow = ["learner.lr_final=1e-5", "learner.std_min=0.2"]
    (run,) = learning.plan(1_000, [4], ["walker2d"], ["acer_steady"], narrow)
    assert run.arguments()[-2:] == narrow
    assert run.key == ("walker2d", "acer_steady", "learner.lr_final=1e-5 learner.std_min=0.2", "4", "1000")
    with pytest.raises(InputError, match="which sb3_sac cannot take"):
        learning.plan(1_000, [4], ["walker2d"], ["acer", "sb3_sac"], narrow)
    with pytest.raises(InputError, match="seed would be set twice"):
        learning.plan(1_000, [4], ["walker2d"], ["acer"], [*narrow, "seed=5"])
    with pytest.raises(InputError, match="std_min would be set twice"):
        learning.plan(1_000, [4], ["walker2d"], ["acer"], [*narrow, "learner.std_min=0.1"])


@pytest.mark.parametrize("text", ["lr", "--lr=1", "learner.x=[1, 2]", "=1"])
def test_overrides_that_are_no_option_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not NAME=VALUE without spaces"):
        command_line.override(text)


def test_every_task_and_learner_of_the_plans_exists():
    runs.check_names(paper.TASKS, paper.LEARNERS)
    runs.check_names(learning.GYMNASIUM + learning.DM_CONTROL, ["acer"])


def test_bad_names_and_absent_extras_are_said_in_one_line():
    with pytest.raises(InputError, match="task=walker3d does not exist"):
        runs.check_names(["walker3d"], ["paper"])
    with pytest.raises(InputError, match="learner=papper does not exist; did you mean paper"):
        runs.check_names(["walker2d"], ["papper"])
    with pytest.raises(InputError, match=r"no_such_module not installed; pip install -e '.\[benchmarks\]'"):
        runs.need_extra("no_such_module")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_numbers_below_one_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number of at least 1"):
        command_line.positive(text)
    assert command_line.positive("12") == 12


@pytest.mark.parametrize(
    ("words", "seeds"), [("", [0, 1, 2]), ("--seeds 2", [0, 1]), ("--seeds 1 --first-seed 4", [4])]
)
def test_seeds_are_counted_from_the_first(words, seeds):
    parser = argparse.ArgumentParser()
    command_line.add_run_options(parser, ["walker2d"], ["acer"])
    assert list(command_line.chosen_seeds(parser.parse_args(words.split()))) == seeds


def test_a_peer_is_asked_for_the_task_by_its_own_name():
    run = Run("walker2d", "sb3_sac", 4, 300, eval_every=100)
    shown = "benchmarks/peers.py sac --task Walker2d-v5 --steps 300 --seed 4 --eval-every 100"
    assert " ".join(run.arguments()) == shown
    assert run.destination(Path("x")) == ["--out", "x/eval.csv"]
