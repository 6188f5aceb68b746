"""collector=overlapped: workers and evaluations in real processes of this machine."""

from __future__ import annotations

import multiprocessing
import time

import pytest
import torch
from composed import composed_train
from worker_kills import Killer, problems

from acer_robot.distributed.processes import ProcessEvaluations, ProcessWorkers
from acer_robot.distributed.remote_collector import WorkerLost
from acer_robot.errors import TaskError
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.tables import read_table
from acer_robot.training.run import train

TINY = [
    "task=gym", "task.id=Pendulum-v1", "+task.kwargs.max_episode_steps=70", "num_envs=2", "steps=120", "eval_every=120",
    "eval_episodes=2", "log_every=30", "video=false", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=40", "learner.segments=4", "learner.replay_ratio=4",
    "learner.compile=false", "seed=3",
]  # fmt: skip
OVERLAPPED = ["collector=overlapped", "collector.segment_length=10"]


def run(folder, *overrides):
    return train(composed_train(f"run_dir='{folder}'", *TINY, *overrides))


@pytest.fixture(autouse=True)
def no_process_is_left():
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) <= before


def test_synchronous_process_equals_the_local_collector(tmp_path):
    local = run(tmp_path / "local")
    remote = run(tmp_path / "remote", "collector=overlapped", "collector.synchronous=true")
    one, other = (read_checkpoint(folder)["learner"]["modules"] for folder in (local, remote))
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("eval/return_mean", "eval/return_online"):
        assert read_table(local / "eval.csv")[name] == read_table(remote / "eval.csv")[name]


def test_killed_processes_are_replaced(tmp_path, capsys):
    options = ["steps=3_000", "learner.replay_ratio=0.5", "collector.workers=2", "eval_every=1_000"]
    with Killer(kills=2, steps=3_000, metrics=tmp_path / "run/metrics.csv") as killer:
        folder = run(tmp_path / "run", *OVERLAPPED, *options)
    out = capsys.readouterr().out
    assert len(killer.workers) == 2
    assert out.count("is lost: its process ended with status -9") == 2
    assert problems(folder, 2) == []
    assert read_table(folder / "eval.csv")["step"][-1] == read_checkpoint(folder)["steps"]


def test_error_of_a_process_is_raised_here():
    config = composed_train("run_dir=x", *TINY, *OVERLAPPED, "task.id=failing_env:Failing-v0",
                            "~task.kwargs.max_episode_steps", "+task.kwargs.at=3")  # fmt: skip
    workers = ProcessWorkers(config)
    try:
        hello = workers.start(0, 0)
        assert workers.wait([hello], 60.0) is hello
        assert workers.answer(hello)["incarnation"] == 0
        with pytest.raises(TaskError, match=r"in a worker process: .*encoder lost"):
            workers.answer(workers.collect(0, 0, 0, None))
        ticket = workers.collect(0, 1, 0, None)
        workers._processes[0]._process.kill()
        with pytest.raises(WorkerLost, match="status -9"):
            workers.answer(ticket)
    finally:
        workers.close()


def test_lost_evaluation_is_repeated(tmp_path):
    config = composed_train("run_dir=x", *TINY, *OVERLAPPED)
    learner = Learner(config.learner, 3, 1, torch.device("cpu"), 0)
    evaluations = ProcessEvaluations(config)
    try:
        for step in (10, 20):
            evaluations.begin(step, 1.0, 5, learner, {})
        evaluations._process._process.kill()
        while evaluations._lost == 0:
            assert evaluations.finished(5.0) is None
        done = []
        while len(done) < 2:
            if (one := evaluations.finished(5.0)) is not None:
                done.append(one)
        assert [one.step for one in done] == [10, 20]
        assert done[0].row == done[1].row
        assert done[0].row["eval/length_mean"] == 70
        assert (len(evaluations), evaluations._lost) == (0, 0)
    finally:
        evaluations.close()


def test_evaluation_that_failed_stays_and_can_be_repeated(tmp_path):
    once = f"+task.kwargs.once='{tmp_path / 'failed'}'"
    config = composed_train("run_dir=x", *TINY, *OVERLAPPED, "task.id=failing_env:Failing-v0",
                            "~task.kwargs.max_episode_steps", "+task.kwargs.at=5", once)  # fmt: skip
    evaluations = ProcessEvaluations(config)
    try:
        evaluations.begin(10, 1.0, 5, Learner(config.learner, 3, 2, torch.device("cpu"), 0), {})
        with pytest.raises(TaskError, match="encoder lost"):
            evaluations.finished(60.0)
        assert len(evaluations) == 1
        evaluations.repeat()
        assert evaluations.finished(60.0).row["eval/length_mean"] == 20
        assert len(evaluations) == 0
    finally:
        evaluations.close()


def test_evaluation_that_hangs_is_repeated(tmp_path, capfd):
    once = f"+task.kwargs.once='{tmp_path / 'hung'}'"
    config = composed_train("run_dir=x", *TINY, *OVERLAPPED, "task.id=failing_env:Failing-v0", "step_timeout=5",
                            "~task.kwargs.max_episode_steps", "+task.kwargs.fault=hang", "+task.kwargs.at=5",
                            once)  # fmt: skip
    evaluations = ProcessEvaluations(config)
    try:
        evaluations.begin(10, 1.0, 5, Learner(config.learner, 3, 2, torch.device("cpu"), 0), {})
        done, end = None, time.monotonic() + 300.0  # the environment itself hangs for 600 seconds
        while done is None and time.monotonic() < end:
            done = evaluations.finished(1.0)
        assert done is not None
        assert done.row["eval/length_mean"] == 20
    finally:
        evaluations.close()
    said = capfd.readouterr()
    assert "has not come back for 5 s (step_timeout); its process ends" in said.err
    assert "the evaluation of step 10 is lost: its process ended with status 1; it is repeated" in said.out
