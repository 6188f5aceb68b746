"""The road from nothing to a policy file, as a user walks it; what a process of its own can show runs in one."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from composed import composed_train

from acer_robot.commands.evaluate import main as evaluate_main
from acer_robot.commands.train import main
from acer_robot.errors import InputError
from acer_robot.experience.replay import Replay
from acer_robot.experience.update_counter import Batches, UpdateSchedule
from acer_robot.learner.batch import Trajectory
from acer_robot.metrics import EVALUATION, LEARNER, ROLLOUT
from acer_robot.run_folder.checkpoints import load_run, read_checkpoint
from acer_robot.schema import LearnerConfig
from acer_robot.training.finish import hand_over
from acer_robot.training.resume import recorded_config
from acer_robot.training.run import train
from acer_robot.training.timing import Every

SUPPORT = Path(__file__).resolve().parents[1] / "support"
TINY = [
    "num_envs=2",
    "steps=240",
    "eval_every=120",
    "eval_episodes=2",
    "log_every=60",
    "threads=1",
    "video=false",
    "wandb.mode=disabled",
    "learner.hidden=[8,8]",
    "learner.advantage_hidden=8",
    "learner.segment_length=8",
    "learner.segments=4",
    "learner.replay_ratio=8",
    "learner.learning_starts=40",
    "learner.replay_size=2000",
]
PENDULUM = ["task=gym", "task.id=Pendulum-v1"]


def start(command, *arguments):
    return subprocess.Popen(
        [str(Path(sys.executable).with_name(command)), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},  # where the tests' environments lie
        # A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def run(command, *arguments):
    process = start(command, *arguments)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture
def here(monkeypatch, capsys):
    """Run a command's main in this process, which saves the start; return (exit status, stdout, stderr)."""

    def call(command, *arguments):
        monkeypatch.setattr(sys, "argv", ["acer-command", *map(str, arguments)])
        status = 0
        try:
            command()
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return call


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "run"
    status, out, err = run("acer-train", f"run_dir={folder}", "seed=5", *PENDULUM, *TINY)
    assert status == 0, err
    return folder, out


def test_film_of_a_former_policy_is_removed(finished_run, tmp_path):
    folder = shutil.copytree(finished_run[0], tmp_path / "run")
    (folder / "videos").mkdir(exist_ok=True)
    (folder / "videos/policy.mp4").write_bytes(b"a film")
    left = hand_over(folder, recorded_config(folder))
    assert "policy.pt" in {file.name for file in left}
    assert "policy.mp4" not in {file.name for file in [*left, *folder.rglob("*")]}


def test_a_run_leaves_everything_that_was_promised(finished_run):
    folder, out = finished_run
    for name in (
        "config.yaml",
        "metrics.csv",
        "eval.csv",
        "environment.txt",
        "report.html",
        "checkpoints/latest.pt",
        "export/policy.pt",
        "export/policy.json",
        "export/test_vectors.npz",
        "export/POLICY_CARD.md",
        "export/evaluation.json",
        "export/episodes.npz",
    ):
        assert (folder / name).stat().st_size > 0, name
    assert "exported and verified" in out
    assert [int(row["step"]) for row in rows(folder / "eval.csv")] == [120, 240]
    metrics = rows(folder / "metrics.csv")
    assert set(metrics[0]) == {"step", *ROLLOUT, *LEARNER}
    assert set(rows(folder / "eval.csv")[0]) == {"step", *EVALUATION}
    assert len(metrics) >= 3
    assert all(math.isfinite(float(row["loss/q"])) for row in metrics)
    # 8 replayed transitions per collected one, 32 per update, none for the first 38 transitions.
    assert float(metrics[-1]["time/updates"]) == (240 - 38) * 8 // 32


def test_run_and_file_evaluate_to_the_same_returns(finished_run, here):
    folder, _ = finished_run
    printed = []
    for source in (f"run={folder}", f"policy={folder / 'export/policy.pt'}"):
        status, out, err = here(evaluate_main, source, "episodes=3", "seed=1")
        assert status == 0, err
        printed.append(json.loads(out.splitlines()[-1]))
    assert len(printed[0]["returns"]) == 3
    assert len(set(printed[0]["returns"])) == 3, "the episodes must start differently"
    assert printed[0]["return_mean"] == pytest.approx(np.mean(printed[0]["returns"]))
    assert printed[0]["return_std"] == pytest.approx(np.std(printed[0]["returns"]))
    np.testing.assert_allclose(printed[0]["returns"], printed[1]["returns"], rtol=1e-3)


def test_checkpoint_holds_the_exported_policy(finished_run):
    folder, _ = finished_run
    modules = read_checkpoint(folder)["learner"]["modules"]
    loaded = load_run(folder)
    assert loaded.steps == 240
    for name, value in loaded.policy.actor.state_dict().items():
        assert torch.equal(value, modules[f"deployed_actor.{name}"])
    assert not torch.equal(modules["deployed_actor.head.weight"], modules["actor.head.weight"])
    assert loaded.policy.normalizer.count == 240


def test_same_seed_gives_the_same_numbers(finished_run, tmp_path, here):
    folder, _ = finished_run

    def numbers(path):
        return [
            (row["loss/q"], row["acer/std"], row["rollout/ep_return"]) for row in rows(path / "metrics.csv")
        ]

    for seed, same, call in ((5, True, partial(run, "acer-train")), (6, False, partial(here, main))):
        options = (f"run_dir={tmp_path / str(seed)}", f"seed={seed}", "hand_over=false", *PENDULUM, *TINY)
        status, _, err = call(*options)
        assert status == 0, err
        assert (numbers(tmp_path / str(seed)) == numbers(folder)) is same


def test_ctrl_c_leaves_a_checkpoint_that_can_be_exported(tmp_path):
    folder = tmp_path / "run"
    endless = ["steps=100000000", "eval_every=100000000", "learner.compile=false"]
    process = start("acer-train", f"run_dir={folder}", *PENDULUM, *TINY, *endless)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.csv").exists() or len(rows(folder / "metrics.csv")) < 2:
        assert time.monotonic() < deadline, process.communicate()
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"acer-export run={folder}" in err
    status, _, err = run("acer-export", f"run={folder}", "episodes=0")
    assert status == 0, err
    assert (folder / "export/policy.pt").exists()


def test_nan_stops_training_and_keeps_the_last_good_state(tmp_path, here):
    folder = tmp_path / "run"
    task = ["task=gym", "task.id=poisoned_env:Poisoned-v0"]
    status, _, err = here(main, f"run_dir={folder}", *task, *TINY)
    assert status == 1
    assert "Traceback" not in err
    assert "environment 0 of gymnasium/poisoned_env:Poisoned-v0 (seed " in err
    assert "at environment step 101: observation 1 is nan" in err
    content = read_checkpoint(folder)
    assert content["steps"] == 200
    assert all(value.isfinite().all() for value in content["learner"]["modules"].values())


def test_failing_environment_leaves_its_traceback(tmp_path, here):
    folder = tmp_path / "run"
    task = ["task=gym", "task.id=poisoned_env:Torn-v0"]
    status, _, err = here(main, f"run_dir={folder}", *task, *TINY)
    assert status == 1
    assert "Traceback" not in err
    assert "at environment step 100: RuntimeError: the cable is torn; its traceback is in" in err
    assert 'raise RuntimeError("the cable is torn")' in (folder / "error.txt").read_text()
    assert read_checkpoint(folder)["steps"] == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task=halfcheetaah"], "halfcheetah"),
        (["learner.gama=0.9"], "gamma"),
        (["task=gym", "task.id=CartPole-v1"], "Discrete"),
        (["task.bounds={bthigh: [-0.5, .nan]}"], "bthigh"),
        (["learner.replay_size=1000000000000", "steps=1000000000000"], "GiB"),
        (["learner.replay_size=100", "learner.segment_length=8"], "learner.segment_length=8"),
        (["learner.squash=relu"], "tanh, clip"),
        (["learner.c=inf"], "learner.correction=none"),
        (["learner.correction=maybe"], "score, pathwise, none"),
        (["learner.gamma=1.5"], "gamma"),
        (["steps=0"], "steps"),
        pytest.param(
            ["device=cuda"],
            "CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
        (["device=gpu"], "gpu"),
    ],
)
def test_bad_input_is_one_line_and_creates_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    folder = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["acer-train", f"run_dir={folder}", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert message in err
    assert err.startswith("acer-robot: error: ")
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert not folder.exists()


def test_a_run_folder_with_something_in_it_is_left_alone(tmp_path, here):
    (tmp_path / "precious.txt").write_text("mine")
    status, _, err = here(main, f"run_dir={tmp_path}", *PENDULUM, *TINY)
    assert status == 2
    assert "not an empty folder" in err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_missing_foreign_or_torn_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no checkpoint"):
        load_run(tmp_path)
    path = tmp_path / "checkpoints/latest.pt"
    path.parent.mkdir()
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_run(tmp_path)
    torch.save({"weights": 1}, path)
    with pytest.raises(InputError, match="not a checkpoint of format 2"):
        load_run(tmp_path)


def test_a_checkpoint_with_code_in_it_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "checkpoints/latest.pt"
    path.parent.mkdir()
    torch.save({"format": 2, "trap": Trap()}, path)
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_run(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_updates_follow_the_replay_ratio():
    options = LearnerConfig(replay_ratio=6.0, segment_length=4, segments=4, learning_starts=100)
    schedule = UpdateSchedule(options, seed=0)
    counts = [schedule.updates(transitions) for transitions in range(8, 1000, 8)]
    assert counts[:12] == [0] * 12
    assert sum(counts[12:]) == pytest.approx((1000 - 104) * 6.0 / 16, abs=1)
    assert max(counts) == 3


def test_poisson_replay_has_the_papers_mean_and_variance():
    options = LearnerConfig(replay_ratio=4.0, segment_length=50, segments=1, learning_starts=0, poisson=True)
    schedule = UpdateSchedule(options, seed=0)
    counts = np.array([schedule.updates(50 * i) for i in range(1, 4001)])
    # Mean 4 with a standard error of 0.03, variance 4 with one of 0.09.
    assert abs(counts.mean() - 4.0) < 0.13
    assert abs(counts.var() - 4.0) < 0.4


def test_on_policy_every_new_segment_is_used_once_and_at_once():
    options = LearnerConfig(on_policy=True, segment_length=4, segments=2, learning_starts=1000)
    replay = Replay(12, 3, 1, 1, 4, torch.device("cpu"))
    batches = Batches(replay, options, seed=0)
    used = []
    for step in range(1, 13):
        value = 10.0 * step + torch.arange(3.0)
        row, flags = value.unsqueeze(-1), torch.zeros(3, dtype=torch.bool)
        replay.add(Trajectory(row, row, row, value, flags, flags, row, row))
        used.append([batch.rewards for batch in batches.due(3 * step)])
    assert [len(batches) for batches in used] == [0, 0, 0, 2] * 3
    seen = torch.cat([batch.flatten() for batches in used for batch in batches])
    everything = 10.0 * torch.arange(1.0, 13.0).unsqueeze(1) + torch.arange(3.0)
    torch.testing.assert_close(seen.sort().values, everything.flatten().sort().values)


def test_every_counts_each_multiple_once_however_large_the_steps():
    due = Every(10)
    assert [due(step) for step in (4, 9, 12, 16, 20, 45, 49, 50)] == [
        False,
        False,
        True,
        False,
        True,
        True,
        False,
        True,
    ]


def test_a_run_gives_its_replay_the_errors_of_each_update(tmp_path):
    options = [*PENDULUM, *TINY, "learner.priority_exponent=0.4", "hand_over=false"]
    folder = train(composed_train(f"run_dir={tmp_path / 'run'}", *options))
    priorities = read_checkpoint(folder)["resume"]["replay"]["priorities"]
    assert priorities["largest"] > 1.0
    assert len(priorities["rows"].unique()) > 20
