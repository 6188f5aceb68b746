"""Environments that fail: named, and made anew where that is wanted; in processes of their own they harm nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from composed import composed_train
from resumed_runs import check_same, resume

from acer_robot.errors import TaskError
from acer_robot.experience.watchdog import watchdog
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.tables import read_table
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task, make_training_task
from acer_robot.training.run import train

TINY = [
    "task=gym", "task.id=failing_env:Failing-v0", "num_envs=2", "steps=240", "eval_every=90", "eval_episodes=2",
    "video=false", "log_every=20", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=40", "learner.replay_ratio=8", "learner.segments=4",
    "learner.compile=false",
]  # fmt: skip


def options(folder, *overrides):
    return composed_train(f"run_dir='{folder}'", *TINY, *overrides)


def config(fault="never", workers=2, **kwargs):
    return TaskConfig("gymnasium", "failing_env:Failing-v0", {"fault": fault, **kwargs}, workers=workers)


def test_workers_give_the_numbers_of_one_process():
    tasks = make_task(config(workers=0), 3, 5), make_training_task(config(), 3, 5, 30.0)
    try:
        assert torch.equal(*(task.reset() for task in tasks))
        state = tasks[0].state()
        for _ in range(45):
            commands = torch.rand(3, 2, dtype=torch.float64)
            one, other = (task.step(commands) for task in tasks)
            assert one.failed is None
            assert other.failed is None
            parts = [name for name in vars(one) if name != "failed"]
            assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in parts)
        for task in tasks:
            task.restore(state)
        assert torch.equal(*(task.step(commands).observations for task in tasks))
        for task in tasks:
            task.reseed(9)
        assert torch.equal(*(task.reset() for task in tasks))
    finally:
        for task in tasks:
            task.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("die", "environment 0 of .* ended its process with status 3"),
        ("hang", "environment 0 of .* did not answer"),
    ],
)
def test_process_that_dies_or_hangs_is_named(fault, words):
    task = make_training_task(config(fault, at=4), 2, 0, 1.0 if fault == "hang" else 30.0)
    try:
        task.reset()
        commands = torch.zeros(2, 2, dtype=torch.float64)
        for _ in range(3):
            task.step(commands)
        with pytest.raises(TaskError, match=words) as raised:
            task.step(commands)
        assert raised.value.environment == 0
    finally:
        task.close()
    assert not any(process.is_alive() for process in task._processes)


def test_resumed_run_with_workers_is_that_of_one_process(tmp_path):
    kwargs = "+task.kwargs.fault=never"
    whole = train(options(tmp_path / "a", kwargs))
    half = train(options(tmp_path / "b", kwargs, "task.workers=1", "steps=130"))
    resume(half, "steps=240", "task.workers=0")
    check_same(whole, half, [130])


@pytest.mark.parametrize("fault", ["raise", "none", "wide", "reward", "text"])
def test_failed_environment_is_made_anew(fault, tmp_path, capsys):
    once = tmp_path / "failed"
    given = [f"+task.kwargs.fault={fault}", f"+task.kwargs.once='{once}'", "on_environment_error=rebuild"]
    folder = train(options(tmp_path / "run", *given))
    assert capsys.readouterr().out.count("the environments are made anew (1 of at most 10 times)") == 1
    assert read_table(folder / "metrics.csv")["rollout/rebuilds"][-1] == 1.0
    assert read_checkpoint(folder)["steps"] == 240
    assert "Failing" in (folder / "error.txt").read_text()


def test_dead_process_is_made_anew(tmp_path):
    given = ["+task.kwargs.fault=die", f"+task.kwargs.once='{tmp_path / 'failed'}'", "task.workers=1"]
    folder = train(options(tmp_path / "run", *given, "on_environment_error=rebuild"))
    assert read_table(folder / "metrics.csv")["rollout/rebuilds"][-1] == 1.0
    assert read_checkpoint(folder)["steps"] == 240


def test_rebuilds_are_bounded_and_leave_a_checkpoint(tmp_path):
    with pytest.raises(TaskError, match="encoder lost"):
        train(options(tmp_path / "run", "on_environment_error=rebuild", "max_rebuilds=2"))
    assert 40 < read_checkpoint(tmp_path / "run")["steps"] < 240
    assert sum(path.is_dir() for path in (tmp_path / "run/incidents").iterdir()) == 1


def test_watchdog_names_the_environment_that_hangs(capsys):
    task = make_task(config(workers=0), 2, 0)
    task.reset()
    task._environments[1].env.unwrapped.step = lambda _: time.sleep(0.6)
    with watchdog(0.2), pytest.raises(TaskError):
        task.step(torch.zeros(2, 2, dtype=torch.float64))
    said = capsys.readouterr().err
    assert said.count("environment 1 of") == 1
    assert "has not come back for 0.2 s" in said


def test_no_worker_outlives_its_parent(tmp_path):
    support = Path(__file__).parents[1] / "support"
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(support)!r})\n"
        "from acer_robot.schema import TaskConfig; from acer_robot.tasks import make_training_task\n"
        "if __name__ == '__main__':\n"
        "    config = TaskConfig('gymnasium', 'failing_env:Failing-v0', workers=2)\n"
        "    task = make_training_task(config, 2, 0, 30.0)\n"
        "    print(*(process.pid for process in task._processes), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 10.0
    while any(map(is_alive, workers)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_alive, workers))
    parent.stdin.close()
    parent.stdout.close()


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
