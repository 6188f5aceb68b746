"""`acer-deploy`: pacing, deadlines, faults on purpose, and the ways to stop."""

import dataclasses
import json
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from exported import make_policy, make_run
from scripted_envs import ScriptedEnv

from acer_robot.commands.deploy import DeployConfig, deploy
from acer_robot.deployment.control_loop import Controller, LoopOptions
from acer_robot.deployment.export import describe
from acer_robot.deployment.pacing import Pacer, percentiles, pressed_key
from acer_robot.errors import InputError
from acer_robot.experience.episodes import run_episodes
from acer_robot.policies.exported.file import load_exported, save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.schema import TaskConfig
from acer_robot.spec import check_same_robot
from acer_robot.tasks import make_task

SCRIPTED = TaskConfig("gymnasium", "scripted_envs:Scripted-v0", {"length": 6})
PENDULUM = TaskConfig("gymnasium", "InvertedPendulum-v5")


def export(config, path):
    task = make_task(config, 1, 0)
    task.close()
    policy = make_policy(task.spec.input_size, task.spec.action_size)
    run = make_run(policy)
    run = dataclasses.replace(run, spec=task.spec, config=dataclasses.replace(run.config, task=config))
    save_exported(ExportedPolicy(policy, run.spec), describe(run), path)
    return str(path)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    return export(SCRIPTED, tmp_path_factory.mktemp("control") / "policy.pt")


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    return export(PENDULUM, tmp_path_factory.mktemp("control") / "policy.pt")


class Clock:
    """Time that passes only in sleep and where the test says so."""

    def __init__(self):
        self.time = 10.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds + 0.001  # a scheduler wakes late


def test_pacer_counts_misses_and_does_not_hurry():
    clock, starts = Clock(), []
    pacer = Pacer(0.02, clock.now, clock.sleep)
    for work in (0.005, 0.005, 0.050, 0.005, 0.005):
        pacer.wait()
        starts.append(clock.time)
        clock.time += work
    # Due at 0, 20, 40; the third takes until 91: one miss, and the next are due 20 ms after that.
    np.testing.assert_allclose(np.subtract(starts, 10.0), [0.001, 0.021, 0.041, 0.091, 0.112], atol=1e-9)
    assert pacer.misses == 1
    np.testing.assert_allclose(pacer.lateness, [0.001, 0.001, 0.001, 0.031, 0.001], atol=1e-9)


def test_a_new_episode_is_no_missed_deadline():
    clock = Clock()
    pacer = Pacer(0.02, clock.now, clock.sleep)
    pacer.wait()
    clock.time += 5.0
    pacer.restart()
    pacer.wait()
    assert pacer.misses == 0


def test_a_pacer_without_a_period_never_waits():
    pacer = Pacer(0.0, sleep=lambda seconds: pytest.fail("slept"))
    pacer.wait()
    assert (pacer.misses, pacer.lateness) == (0, [])


def test_percentiles():
    values = percentiles([i * 1e-6 for i in range(101)])
    assert values == pytest.approx({"p50": 50.0, "p99": 99.0, "max": 100.0})
    assert percentiles([]) is None


def test_as_fast_as_possible_it_returns_what_the_evaluation_does(pendulum):
    summary = deploy(DeployConfig(pendulum, episodes=1, seed=3, rate=0.0))
    file = load_exported(Path(pendulum))
    task = make_task(file.task_config, 1, 3)
    expected = run_episodes(file.act, task)
    task.close()
    assert summary["returns"] == pytest.approx(expected.returns.tolist())
    assert summary["lengths"] == expected.lengths.tolist()
    assert (summary["deadline_misses"], summary["jitter_us"]) == (None, None)
    assert 0 < summary["latency_us"]["p50"] <= summary["latency_us"]["max"]


def test_the_rate_sets_the_time_that_commands_take(scripted, monkeypatch):
    periods = []
    monkeypatch.setattr(Pacer, "wait", lambda self: periods.append(self._period))
    deploy(DeployConfig(scripted, rate=2.0, max_steps=3))
    assert periods == [0.02 / 2.0] * 3


def run_scripted(scripted, **options):
    """Return what the simulator received, [steps, joints]."""
    deploy(DeployConfig(scripted, rate=0.0, **options))
    return np.array(ScriptedEnv.made[-1].received)


@pytest.mark.parametrize("ramp", [False, True])
def test_a_delay_shifts_the_commands_behind_rest(scripted, ramp):
    usual = run_scripted(scripted, ramp=ramp)
    late = run_scripted(scripted, command_delay=2, ramp=ramp)
    assert (len(usual) > 6) is ramp  # the ramp to rest, after the episode
    np.testing.assert_array_equal(late[:2], np.zeros((2, 2)))
    np.testing.assert_allclose(late[2:], usual[:-2], atol=1e-6)  # this robot's observations ignore commands


def test_a_delay_starts_anew_with_each_episode(scripted):
    late = run_scripted(scripted, command_delay=2, episodes=2)
    assert late.shape == (12, 2)
    np.testing.assert_array_equal(late[6:8], np.zeros((2, 2)))


def test_policy_and_pacing_start_anew_with_each_episode(tmp_path, monkeypatch):
    restarts = []
    monkeypatch.setattr(Pacer, "restart", lambda self: restarts.append(len(ScriptedEnv.made[-1].received)))
    slow = dataclasses.replace(SCRIPTED, slew_rate={"action_0": 0.5})  # 0.01 a step, from 0
    received = run_scripted(export(slow, tmp_path / "policy.pt"), episodes=2)
    np.testing.assert_allclose(np.abs(received[[0, 6], 0]), 0.01, rtol=1e-5)
    assert restarts == [0, 6]


@pytest.mark.parametrize("ramp", [False, True])
def test_noise_changes_commands_and_follows_its_seed(scripted, ramp):
    usual = run_scripted(scripted, ramp=ramp)[:6]
    noisy = [run_scripted(scripted, observation_noise=0.5, seed=seed, ramp=ramp)[:6] for seed in (1, 1, 2)]
    assert np.abs(noisy[0] - usual).max() > 1e-3
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 1e-3


def controlled(path, stop=lambda: False, **options):
    file = load_exported(Path(path))
    task = make_task(file.task_config, 1, 0)
    outcome = Controller(file, task, LoopOptions(**options)).run(Pacer(0.0), stop)
    task.close()
    return outcome


def test_a_key_stops_it_with_what_there_is(scripted):
    presses = iter([False] * 8 + [True])
    outcome = controlled(scripted, lambda: next(presses), episodes=5)
    assert (outcome.stopped, outcome.lengths, len(outcome.latencies)) == ("q", [6, 2], 8)
    assert outcome.returns == [21.0, 3.0]


def test_q_stops_it_and_restores_the_terminal(pendulum):
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [
        sys.executable,
        "-m",
        "acer_robot.commands.deploy",
        f"policy={pendulum}",
        "episodes=100000",
    ]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:  # keys pressed before it listens are lost
            os.write(ours, b"xq")
            time.sleep(0.2)
        out = process.stdout.read()
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["stopped"] == "q"
    assert termios.tcgetattr(theirs) == before


@pytest.mark.parametrize("foreground", [True, False])
def test_keys_are_read_in_the_foreground_alone(monkeypatch, foreground):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() if foreground else 1)
        before = termios.tcgetattr(theirs)
        with pressed_key() as key:
            assert (termios.tcgetattr(theirs) == before) != foreground
            os.write(ours, b"q\n")
            assert key() == ("q" if foreground else "")
    os.close(ours)


def test_terminal_that_closes_gives_no_key_and_no_error(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
        with pressed_key() as key:
            os.close(ours)
            assert key() == ""


def test_ctrl_c_stops_it_with_what_there_is(scripted):
    calls = iter(range(4))

    def interrupt():
        if next(calls) == 3:
            raise KeyboardInterrupt
        return False

    outcome = controlled(scripted, interrupt)
    assert (outcome.stopped, outcome.lengths) == ("Ctrl-C", [3])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"control_dt": 0.05}, "control_dt"),
        ({"observation": ()}, "observation"),
        ({"bounds": None}, "bounds"),
    ],
)
def test_another_robot_is_refused(changes, name):
    spec = make_run().spec
    check_same_robot(spec, dataclasses.replace(spec))
    with pytest.raises(InputError, match=f"differs from the one in the file in its {name}"):
        check_same_robot(spec, dataclasses.replace(spec, **changes))


@pytest.mark.parametrize(
    "options",
    [
        {"episodes": 0},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"max_steps": 0},
        {"command_delay": -1},
        {"observation_noise": -0.1},
    ],
)
def test_options_that_cannot_be_used(options):
    with pytest.raises(InputError, match=next(iter(options))):
        deploy(DeployConfig("nowhere.pt", **options))


def test_the_command_ends_with_json(pendulum):
    module = [sys.executable, "-m", "acer_robot.commands.deploy"]
    arguments = [f"policy={pendulum}", "rate=4", "max_steps=20"]
    done = subprocess.run(module + arguments, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["commands"] == sum(summary["lengths"]) > 0
    assert summary["jitter_us"]["p50"] >= 0
    assert "deadlines" in done.stdout
