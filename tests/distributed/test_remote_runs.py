"""Whole runs with workers in this process."""

from __future__ import annotations

import math

import in_process_workers
import pytest
import torch
from composed import composed_train
from in_process_workers import InProcessEvaluations, InProcessWorkers

from acer_robot.distributed import start
from acer_robot.errors import InputError, TaskError
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.tables import read_table
from acer_robot.training.parts import Run
from acer_robot.training.resume import resumed_config
from acer_robot.training.run import train

TINY = [
    "task=gym", "task.id=Pendulum-v1", "+task.kwargs.max_episode_steps=70", "num_envs=2", "steps=240", "eval_every=90",
    "eval_episodes=2", "log_every=30", "video=false", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=40", "learner.segments=4", "learner.replay_ratio=8",
    "learner.compile=false", "seed=3",
]  # fmt: skip
SYNCHRONOUS = ["collector=ray", "collector.workers=1", "collector.synchronous=true"]
TWO = ["collector=ray", "collector.workers=2", "collector.segment_length=10"]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(start, "RayWorkers", InProcessWorkers)
    monkeypatch.setattr(start, "RayEvaluations", InProcessEvaluations)


def run(folder, *overrides):
    return train(composed_train(f"run_dir='{folder}'", *TINY, *overrides))


def columns(path):
    table = read_table(path)
    return {
        name: list(map(repr, values))
        for name, values in table.items()
        if not name.startswith(("time/s", "collect/")) and name != "seconds"
    }


def test_one_synchronous_worker_equals_the_local_collector(tmp_path):
    local, remote = run(tmp_path / "local"), run(tmp_path / "remote", *SYNCHRONOUS)
    contents = [read_checkpoint(folder) for folder in (local, remote)]
    one, other = (content["learner"]["modules"] for content in contents)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert contents[0]["resume"]["returns"] == contents[1]["resume"]["returns"]
    for table in ("metrics.csv", "eval.csv"):
        assert columns(local / table) == columns(remote / table)


def test_evaluations_beside_training_reach_the_table_and_best(tmp_path):
    folder = run(tmp_path / "run", *TWO)
    evaluations = read_table(folder / "eval.csv")
    assert evaluations["step"] == [90.0, 180.0, 240.0]
    best = max(evaluations["eval/return_mean"])
    step = evaluations["step"][evaluations["eval/return_mean"].index(best)]
    assert read_checkpoint(folder, "best")["steps"] == step
    latest = read_checkpoint(folder)
    assert (latest["steps"], latest["resume"]["best"] <= best) == (240, True)
    metrics = read_table(folder / "metrics.csv")
    assert metrics["time/updates"][-1] == latest["learner"]["updates"] == (240 - 30) * 8 // 32


def test_run_goes_on_with_new_workers(tmp_path, capsys):
    folder = run(tmp_path / "run", *TWO)
    config = composed_train(f"resume='{folder}'", "steps=400")
    train(resumed_config(config, ["steps"]))
    assert "the workers restart: their episodes and random streams are new" in capsys.readouterr().out
    latest = read_checkpoint(folder)
    assert latest["steps"] == 400
    assert latest["resume"]["collector"]["incarnations"] == [1, 1]
    assert latest["resume"]["replay"]["added"] == 400


FAILING = [
    "task.id=failing_env:Failing-v0", "~task.kwargs.max_episode_steps", "on_environment_error=rebuild",
]  # fmt: skip


def test_failed_environments_of_workers_are_made_anew(tmp_path, capsys):
    once = f"+task.kwargs.once='{tmp_path / 'failed'}'"
    folder = run(tmp_path / "run", *TWO, *FAILING, once, "+task.kwargs.at=45")
    out = capsys.readouterr().out
    assert out.count("the environments are made anew (1 of at most 10 times)") == 1
    assert read_table(folder / "metrics.csv")["rollout/rebuilds"][-1] == 1.0
    assert read_table(folder / "eval.csv")["step"][-1] == read_checkpoint(folder)["steps"] == 240


def test_failed_evaluation_beside_training_is_repeated(tmp_path, monkeypatch, capsys):
    failures = iter([True])
    real = in_process_workers.evaluate

    def evaluate(*order):
        if next(failures, False):
            raise TaskError("encoder lost")
        return real(*order)

    monkeypatch.setattr(in_process_workers, "evaluate", evaluate)
    folder = run(tmp_path / "run", *TWO, "on_environment_error=rebuild")
    assert "encoder lost; the environments are made anew" in capsys.readouterr().out
    assert read_table(folder / "eval.csv")["step"] == [90.0, 180.0, 240.0]


def test_diverged_run_goes_back_with_new_workers(tmp_path, monkeypatch, capsys):
    real, poisoned = Learner.update, []

    def update(self, batch):
        if self.updates == 40 and not poisoned:
            poisoned.append(self.updates)
            with torch.no_grad():
                next(self.actor.parameters()).fill_(torch.nan)
        return real(self, batch)

    monkeypatch.setattr(Learner, "update", update)
    folder = run(tmp_path / "run", *TWO, "on_divergence=rollback")
    assert "it goes back to environment step" in capsys.readouterr().out
    latest = read_checkpoint(folder)
    assert latest["steps"] == 240
    assert latest["resume"]["collector"]["incarnations"] == [1, 1]


def test_second_rollback_has_streams_of_its_own(tmp_path, monkeypatch):
    """Both rollbacks go back to the same checkpoint; the workers of the second draw other numbers."""
    real, poisoned, started, due = Learner.update, [], [], iter([True])

    def update(self, batch):
        if len(poisoned) < 2 and self not in poisoned and (self.updates == 40 or poisoned):
            poisoned.append(self)
            with torch.no_grad():
                next(self.actor.parameters()).fill_(torch.nan)
        return real(self, batch)

    def is_due(self):  # one checkpoint, with no evaluation that would be repeated and write another
        return self.learner.updates > 20 and next(due, False)

    begin = InProcessWorkers.start
    monkeypatch.setattr(Run, "checkpoint_due", property(is_due))
    monkeypatch.setattr(Learner, "update", update)
    monkeypatch.setattr(
        InProcessWorkers, "start", lambda self, *which: (started.append(which), begin(self, *which))[1]
    )
    run(tmp_path / "run", *TWO, "on_divergence=rollback", "eval_every=240")
    assert started == [(slot, incarnation) for incarnation in range(3) for slot in range(2)]


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_current_policy_is_not_evaluated_unless_wanted(kind, tmp_path):
    folder = run(tmp_path / "run", *(TWO if kind == "ray" else []), "eval_online=false")
    table = read_table(folder / "eval.csv")
    assert all(map(math.isnan, table["eval/return_online"]))
    assert not any(map(math.isnan, table["eval/return_mean"]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["collector.workers=3"], "collector.workers=3 has no effect with collector=local; add collector=ray"),
        (["collector=ray", "num_envs=5"], "num_envs=5 cannot be divided among collector.workers=2; set num_envs=6"),
        (["collector=ray", "learner.on_policy=true"], "learner.on_policy=true needs segments of the present policy"),
        (["collector=ray", "collector.synchronous=true"], "set collector.workers=1"),
        (["collector=ray", "collector.segment_length=4"], "set collector.segment_length=8 or more"),
        (["collector=ray", "learner.replay_size=30"], "does not hold one segment of a worker; set it to 32"),
        (["collector=ray", "collector.max_staleness=5"], "24 updates pass; set it to 24 or more"),
        (["collector=ray", "task.workers=2"], "collector=ray has collector.workers; set task.workers=0"),
        (["collector=ray", "task=halfcheetah", "task.backend=warp"], "workers of collector=ray have none"),
        (["collector=overlapped", "collector.address=auto"], "collector.address=auto is of Ray"),
        (["collector=overlapped", "collector.dashboard=true"], "collector.dashboard=True is of Ray"),
        (["collector=ray", "collector.workers=0"], "collector.workers=0 is out of range"),
    ],
)  # fmt: skip
def test_collector_options_that_cannot_be_used(tmp_path, overrides, message):
    with pytest.raises(InputError) as error:
        run(tmp_path / "run", *overrides)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()
