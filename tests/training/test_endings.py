"""How a run ends when it is interrupted: which state is kept, and what is said."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from composed import composed_train
from resumed_runs import resume

from acer_robot.commands import train as train_command
from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.experience.collector import Collector
from acer_robot.interrupt import Interrupted
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.training import parts
from acer_robot.training import run as training
from acer_robot.training.run import train

TINY = [
    "task=gym", "task.id=Pendulum-v1", "num_envs=2", "steps=400", "eval_every=200", "eval_episodes=2", "video=false",
    "log_every=10", "threads=1", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=20",
]  # fmt: skip


pytestmark = pytest.mark.usefixtures("python_handles_signals")


@pytest.fixture
def at_update(monkeypatch):
    """Call a function with the learner right after one of its updates; return what takes that back."""

    def put(action, number=20):
        update = Learner.update

        def updated(learner, batch):
            seen = update(learner, batch)
            if learner.updates == number:
                action(learner)
            return seen

        monkeypatch.setattr(Learner, "update", updated)
        return lambda: monkeypatch.setattr(Learner, "update", update)

    return put


def options(tmp_path, *overrides):
    return composed_train(f"run_dir={tmp_path / 'run'}", *TINY, *overrides)


def poison(learner):
    learner.log_temperature.data.fill_(float("nan"))


def is_finite(content):
    return all(value.isfinite().all() for value in content["learner"]["modules"].values())


def test_a_second_ctrl_c_keeps_the_last_good_state(tmp_path, at_update):
    def twice(learner):
        poison(learner)  # as an update that is half done
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_update(twice)
    with pytest.raises(KeyboardInterrupt) as raised:
        train(options(tmp_path))
    assert not isinstance(raised.value, Interrupted)
    content = read_checkpoint(tmp_path / "run")
    assert 0 < content["learner"]["updates"] < 20
    assert is_finite(content)


def test_an_interrupted_state_with_a_nan_is_not_kept(tmp_path, at_update):
    def interrupt(learner):
        poison(learner)
        os.kill(os.getpid(), signal.SIGINT)

    at_update(interrupt)
    with pytest.raises(NonFiniteError, match="acer/temperature is nan"):
        train(options(tmp_path))
    assert is_finite(read_checkpoint(tmp_path / "run"))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
)
def test_every_signal_keeps_the_state_between_two_steps(tmp_path, at_update, number):
    at_update(lambda _: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted) as raised:
        train(options(tmp_path, "log_every=100000"))
    assert raised.value.status == 128 + number
    assert read_checkpoint(tmp_path / "run")["learner"]["updates"] >= 20


def test_failed_environment_keeps_the_present_state(tmp_path, at_update):
    def fail(_learner):
        raise TaskError("the cable is torn")

    at_update(fail)
    with pytest.raises(TaskError, match="the cable is torn"):
        train(options(tmp_path, "log_every=100000", "eval_every=400"))
    assert read_checkpoint(tmp_path / "run")["learner"]["updates"] >= 20


def test_run_whose_environment_failed_goes_on_with_new_episodes(tmp_path, capsys):
    """The step that failed is the 80th of environment 0, after the only checkpoint."""
    given = [
        "task.id=failing_env:Failing-v0",
        "+task.kwargs.at=80",
        "eval_every=100",
        "learner.replay_ratio=16",
    ]
    with pytest.raises(TaskError, match="encoder lost"):
        train(options(tmp_path, *given, "checkpoint.keep=0"))
    failed_at = read_checkpoint(tmp_path / "run")["steps"]
    assert failed_at > 100
    assert "encoder lost" in read_checkpoint(tmp_path / "run")["resume"]["task"]["missing"]
    with pytest.raises(TaskError, match="encoder lost"):
        resume(tmp_path / "run")
    said = capsys.readouterr().out
    assert f"goes on from environment step {failed_at}" in said
    assert "the episodes of training restart" in said
    assert read_checkpoint(tmp_path / "run")["steps"] > failed_at


def test_diverged_run_goes_on_from_its_last_whole_checkpoint(tmp_path, at_update, capsys):
    take_back = at_update(poison, 30)
    given = ["eval_every=100", "log_every=40", "learner.replay_ratio=16", "checkpoint.keep=0"]
    with pytest.raises(NonFiniteError):
        train(options(tmp_path, *given))
    assert read_checkpoint(tmp_path / "run")["steps"] == 200
    assert "checkpoint of environment step 200" in capsys.readouterr().out
    take_back()
    resume(tmp_path / "run")
    assert read_checkpoint(tmp_path / "run")["steps"] == 400


def test_unwritable_checkpoint_ends_the_run_and_keeps_the_former(tmp_path, monkeypatch):
    save, calls = parts.save_checkpoint, []

    def full(*arguments):
        calls.append(threading.current_thread() is threading.main_thread())
        if len(calls) == 3:
            raise OSError(28, "No space left on device", "latest.pt")
        return save(*arguments)

    monkeypatch.setattr(parts, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        train(options(tmp_path, "eval_every=100", "learner.replay_ratio=16"))
    assert calls == [False] * 3, (
        "beside training: latest and best of the first evaluation, latest of the second"
    )
    assert read_checkpoint(tmp_path / "run")["steps"] == 100
    assert "resume" in read_checkpoint(tmp_path / "run")


def test_untrained_state_is_not_kept(tmp_path, at_update):
    def fail(_learner):
        raise NonFiniteError("reward is nan")

    at_update(fail)
    with pytest.raises(NonFiniteError, match="reward is nan"):
        train(options(tmp_path, "log_every=100000", "eval_every=400"))
    assert not (tmp_path / "run/checkpoints").exists()


def test_job_of_a_sweep_has_its_task_checked(tmp_path):
    train_command.check_job(options(tmp_path))
    for override, words in (
        ("task.id=Nope-v1", "'Nope-v1' is not registered"),
        ("+task.kwargs.a=1", "cannot be made"),
    ):
        with pytest.raises(InputError, match=words):
            train_command.check_job(options(tmp_path, override))


def test_evaluation_is_interrupted_between_two_steps(tmp_path, monkeypatch):
    calls, deterministic = [], training.deterministic

    def counted(*arguments):
        act = deterministic(*arguments)

        def acted(observations):
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return act(observations)

        return acted

    monkeypatch.setattr(training, "deterministic", counted)
    with pytest.raises(Interrupted):
        train(options(tmp_path))
    assert len(calls) == 3
    assert read_checkpoint(tmp_path / "run")["steps"] == 200


def test_no_checkpoint_is_left_before_the_first_update(tmp_path, monkeypatch, capsys):
    step = Collector.step

    def interrupted(collector):
        os.kill(os.getpid(), signal.SIGINT)
        return step(collector)

    monkeypatch.setattr(Collector, "step", interrupted)
    folder = tmp_path / "my run"
    monkeypatch.setattr(sys, "argv", ["acer-train", f"run_dir='{folder}'", *TINY])
    with pytest.raises(SystemExit) as stopped:
        train_command.main()
    said = capsys.readouterr()
    assert stopped.value.code == 130
    assert "acer-export" not in said.err
    assert f"rm -r '{folder}'" in said.err.splitlines()[-1]
    assert "checkpoint of" not in said.out
    assert not (folder / "checkpoints").exists()
