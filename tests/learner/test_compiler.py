"""Which runs compile their update, and what is said where a compiler is missing."""

import gc
import weakref

import pytest
import torch

from acer_robot.errors import InputError
from acer_robot.learner.compiler import WORTH_COMPILING, choose_compiling
from acer_robot.learner.cuda_graph import collector_paused
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.training.run import prepare

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_long_runs_compile_by_themselves_and_short_ones_do_not(capsys):
    assert choose_compiling(None, WORTH_COMPILING, CPU, 1)
    assert not choose_compiling(None, WORTH_COMPILING - 1, CPU, 1)
    assert choose_compiling(None, 1, CUDA, 2)
    assert not choose_compiling(False, WORTH_COMPILING, CUDA, 1)
    assert not choose_compiling(None, WORTH_COMPILING, CPU, 2)
    assert choose_compiling(True, 1, CPU, 2)
    assert not choose_compiling(False, WORTH_COMPILING, CPU, 1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("steps", "action_repeat", "expected"), [(20_000, 1, True), (20_000, 2, False)])
def test_a_run_counts_its_updates_and_records_the_choice(tmp_path, steps, action_repeat, expected):
    """The defaults do one update per command, so that an action repeat halves them."""
    config = TrainConfig(
        task=TaskConfig("gymnasium", "Pendulum-v1", action_repeat=action_repeat),
        learner=LearnerConfig(),
        steps=steps,
        run_dir=str(tmp_path / "run"),
        num_envs=2,
        eval_episodes=1,
        threads=1,
    )
    run = prepare(config)
    assert run.config.learner.compile is expected
    assert run.learner.config.compile is expected
    run.task.close()
    run.evaluation_task.close()


def test_missing_compiler_is_refused_or_done_without(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"learner.compile=true needs a C\+\+ compiler, .* install one or set"
    ):
        choose_compiling(True, 1, CPU, 1)
    assert not choose_compiling(None, WORTH_COMPILING, CPU, 1)
    assert "is not compiled and takes about twice as long; compiling needs a C++" in capsys.readouterr().out


def test_without_pythons_headers_compiling_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(InputError, match=f"there is no Python.h in {tmp_path}; install python3-dev or set"):
        choose_compiling(True, 1, CPU, 1)


def test_a_compiler_that_cannot_trace_gradients_is_refused(monkeypatch):
    monkeypatch.setattr("torch._dynamo.config", object())
    with pytest.raises(InputError, match="upgrade torch or set"):
        choose_compiling(True, 1, CPU, 1)


class _Cycle:
    def __init__(self):
        self.itself = self


def test_no_garbage_is_collected_while_a_graph_is_recorded():
    gc.collect()
    thresholds = gc.get_threshold()
    gc.set_threshold(10**9)
    try:
        held = _Cycle()
        seen = weakref.ref(held)
        del held
        with collector_paused():
            gc.set_threshold(1)
            kept = [[] for _ in range(10)]
            assert seen() is not None
        kept += [[] for _ in range(10)]
        assert seen() is None
    finally:
        gc.set_threshold(*thresholds)


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
