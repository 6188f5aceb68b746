"""The C++ controller: the same commands as Python's, and one line for everything that it refuses."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pty
import re
import resource
import signal
import subprocess
import termios
import time
import zipfile
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from composed import composed_train
from exported import make_policy
from incidents.drill_python import obey_signals
from robots import LEGS, POSITION, WITH_STATE, walker, walker_config

from acer_robot.deployment.export import describe
from acer_robot.deployment.situations import situations, to_dict
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported, save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import TaskConfig, TrainConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.robot.portrait import robot_xml

ROOT = Path(__file__).parent.parent
BUILD = os.environ.get("CONTROLLER_BUILD", "controller")
"""The folder in build/: `controller`, or `controller-sanitized` with the sanitizers."""
ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
HALF_CHEETAH = ASSETS / "half_cheetah.xml"
LIMITED = {"slew_rate": {"bthigh": 8.0, "ffoot": 20.0}, "low_pass_hz": 5.0, "bounds": {"bshin": [-0.5, 0.25]}}


@pytest.fixture(scope="session")
def controller():
    """The program, built as `make controller` does."""
    missing = subprocess.run(
        [ROOT / "scripts" / "controller.sh", "missing"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if missing:
        pytest.skip(f"the C++ controller cannot be built without {missing}")
    kind = [] if BUILD == "controller" else ["sanitized"]
    subprocess.run([ROOT / "scripts" / "controller.sh", *kind], check=True, capture_output=True)
    return ROOT / "build" / BUILD / "controller"


@pytest.fixture(scope="session")
def library(controller):
    """The program of the checks that call the library themselves: `controller_test CHECK ..`."""
    return controller.parent / "controller_test"


@pytest.fixture(autouse=True)
def _one_thread():
    """One thread, as in the controller: a sum over several rounds otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def export(folder, task_id="HalfCheetah-v5", fields=None, **options):
    """Write a policy.pt for a task, with random weights that use the whole range of commands.

    `fields` are added to its metadata's task.
    """
    config = TaskConfig(**{"suite": "gymnasium", "id": task_id} | options)
    task = make_task(config, 1, 0)
    spec = task.spec
    task.close()
    width = spec.input_size
    normalizer = ObservationNormalizer(width)
    generator = torch.Generator().manual_seed(0)
    normalizer.update(torch.randn(500, width, generator=generator) * torch.linspace(0.3, 6.0, width) + 0.1)
    actor = make_policy(width, spec.action_size, hidden=[256, 256]).actor
    policy = Policy(normalizer, actor).eval().requires_grad_(False)
    run = TrainedRun(policy, TrainConfig(task=config, run_dir="runs/x"), spec, 0)
    metadata = describe(run)
    metadata["task"].update(fields or {})
    save_exported(ExportedPolicy(policy, spec), metadata, folder / "policy.pt")
    return folder / "policy.pt"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return export(tmp_path_factory.mktemp("policy"))


def run(controller, *arguments, cwd=None):
    options = {"capture_output": True, "text": True, "timeout": 120, "cwd": cwd, "preexec_fn": obey_signals}
    return subprocess.run([controller, *map(str, arguments)], check=False, **options)


def closed_loop(file, task_id, steps, start, **kwargs):
    """Gymnasium's own environment under the exported file: observations, commands and return."""
    env = gymnasium.make(task_id, disable_env_checker=True, **kwargs).unwrapped
    env.reset(seed=0)
    env.set_state(start[: env.model.nq], start[env.model.nq :])
    loaded = load_exported(file)
    loaded.reset()
    observation, total = env._get_obs(), 0.0
    observations, commands = [], []
    for _ in range(steps):
        observations.append(observation.astype(np.float32))
        commands.append(loaded.act(torch.from_numpy(observations[-1])).numpy())
        observation, reward, *_ = env.step(commands[-1])
        total += reward
    env.close()
    return np.stack(observations), np.stack(commands), total


def start_state(model, seed=3):
    env = gymnasium.make(model, disable_env_checker=True).unwrapped
    env.reset(seed=seed)
    state = np.concatenate([env.data.qpos, env.data.qvel])
    env.close()
    return state


def flight(controller, file, model, start, steps, tmp_path, *more):
    """Run the controller from `start`; return what it printed, its observations and its commands."""
    np.savetxt(tmp_path / "start.txt", start)
    log = tmp_path / "log.csv"
    options = ["--steps", steps, "--initial-state", tmp_path / "start.txt", "--log", log, *more]
    done = run(controller, file, model, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout, *observed_and_commanded(log)


def observed_and_commanded(log):
    """Return the observations and the commands [ticks, ..] of a log, of those ticks that have a command."""
    _, header, *rows = log.read_text().splitlines()
    joints = sum(name.startswith("policy:") for name in header.split(","))
    cells = [row.split(",") for row in rows if not row.endswith(",")]
    observations = np.array([row[6 : -2 * joints] for row in cells], np.float32)
    return observations, np.array([row[-joints:] for row in cells], np.float32)


@pytest.mark.parametrize("options", [{}, LIMITED], ids=["plain", "limited"])
def test_thousand_steps_return_what_python_returns(controller, tmp_path, options):
    file = export(tmp_path, **options)
    start = start_state("HalfCheetah-v5")
    printed, observations, commands = flight(
        controller, file, HALF_CHEETAH, start, 1000, tmp_path, "--libtorch"
    )
    expected_observations, expected_commands, expected = closed_loop(file, "HalfCheetah-v5", 1000, start)
    # The same libtorch and libmujoco, one thread and one observation at a time: every bit is equal.
    np.testing.assert_array_equal(observations, expected_observations)
    np.testing.assert_array_equal(commands, expected_commands)
    got = float(printed.split("return ")[1].split()[0])
    assert got == pytest.approx(expected, rel=1e-6)
    assert commands.std(axis=0).max() > 0.3  # the policy does something


@pytest.mark.parametrize("options", [{}, LIMITED], ids=["plain", "limited"])
def test_packed_network_acts_as_the_file(controller, tmp_path, options):
    file = export(tmp_path, **options)
    start = start_state("HalfCheetah-v5")
    _, observations, commands = flight(controller, file, HALF_CHEETAH, start, 1000, tmp_path)
    loaded = load_exported(file)
    loaded.reset()
    expected = np.stack([loaded.act(torch.from_numpy(row)).numpy() for row in observations])
    # Its sums have another order than libtorch's, so they round differently.
    np.testing.assert_allclose(commands, expected, rtol=0, atol=2e-5)
    assert commands.std(axis=0).max() > 0.3


@pytest.mark.parametrize(
    ("task_id", "model", "kwargs"),
    [
        ("Walker2d-v5", "walker2d_v5.xml", {}),
        ("Ant-v5", "ant.xml", {"include_cfrc_ext_in_observation": False}),
    ],
)
def test_clipped_velocities_are_observed_as_in_training(controller, tmp_path, task_id, model, kwargs):
    file = export(tmp_path, task_id, kwargs=kwargs)
    start = start_state(task_id)
    start[-3:] = 30.0  # beyond the limit of clipped velocities
    printed, observations, _ = flight(controller, file, ASSETS / model, start, 5, tmp_path)
    expected, _, _ = closed_loop(file, task_id, 5, start, **kwargs)
    np.testing.assert_allclose(observations, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(observations[0], expected[0])
    assert "is not known here" in printed


def test_real_time_takes_the_time_of_the_task(controller, policy, tmp_path):
    def seconds(*options):
        printed = run(controller, policy, HALF_CHEETAH, "--steps", 40, *options, cwd=tmp_path).stdout
        line = next(line for line in printed.splitlines() if "of the robot's time" in line)
        assert line.startswith("2.000 s of the robot's time took ")
        assert ("late control periods: " in printed) == bool(options)
        return float(line.split()[-2])

    assert seconds() < 1.0
    assert 1.999 <= seconds("--realtime") < 4.0


def test_an_episode_knows_nothing_of_the_one_before(controller, tmp_path):
    file = export(tmp_path, **LIMITED)
    np.savetxt(tmp_path / "start.txt", start_state("HalfCheetah-v5"))
    options = ["--episodes", 2, "--steps", 50, "--initial-state", tmp_path / "start.txt"]
    first, second = run(controller, file, HALF_CHEETAH, *options, cwd=tmp_path).stdout.splitlines()[:2]
    assert first.startswith("episode 0: return")
    assert first.split("return")[1] == second.split("return")[1]


def test_shared_situations_agree_with_python(library, tmp_path):
    (tmp_path / "situations.json").write_text(json.dumps(to_dict(situations())))
    done = run(library, "situations", tmp_path / "situations.json")
    assert done.returncode == 0, done.stdout
    agreed, all_of_them = re.match(r"(\d+) of (\d+) situations agree", done.stdout).groups()
    assert int(agreed) == int(all_of_them) > 100


def driven(controller, policy, folder, script="", *options):
    """Drive with `--ramp` and a scripted incident; return the exit status, the log's first line and its columns."""
    (folder / "incident.txt").write_text(script)
    log, names = folder / "log.csv", ["--incident", folder / "incident.txt"]
    log.unlink(missing_ok=True)
    done = run(controller, policy, HALF_CHEETAH, "--ramp", *names, "--log", log, *options, cwd=folder)
    first, header, *rows = log.read_text().splitlines()
    assert len(first) == 120
    columns = dict(zip(header.split(","), zip(*(row.split(",") for row in rows), strict=True), strict=True))
    return done.returncode, first.removeprefix("# stopped by: ").strip(), columns


def commands_of(columns):
    """Return the commands [ticks, joints]; NaN: none was written."""
    joints = [values for name, values in columns.items() if name.startswith("command:")]
    return np.array([[float(value or "nan") for value in row] for row in zip(*joints, strict=True)])


@pytest.mark.parametrize(
    ("script", "status", "reason", "states"),
    [
        ("", 0, "end", {"ramp_in", "running", "ramp_out", "stopped"}),
        ("signal 40 40 15\n", 143, "stop: Terminated", {"ramp_in", "running", "ramp_out", "stopped"}),
        ("signal 40 40 20\n", 148, "stop: Stopped", {"ramp_in", "running", "ramp_out", "stopped"}),
        ("signal 40 41 2\n", 130, "second_stop: Interrupt", {"ramp_in", "running", "ramp_out", "stopped"}),
        ("lost 30 33 0\n", 0, "end", {"ramp_in", "running", "holding", "ramp_out", "stopped"}),
        ("lost 30 99 0\n", 1, "age", {"ramp_in", "running", "holding", "ramp_out", "stopped"}),
        ("nan 10 99 0\n", 1, "nan", {"ramp_in", "holding", "ramp_out", "stopped"}),
        ("late 30 99 0.02\n", 1, "late", {"ramp_in", "running", "ramp_out", "stopped"}),
        ("disk 30 30 0\n", 1, "error: the log cannot be written: File too large", {"ramp_in", "running"}),
        (
            "broken 30 30 0\n",
            1,
            "error: the robot cannot be read: the bus is broken",
            {"ramp_in", "running", "ramp_out", "stopped"},
        ),
    ],
)
def test_incident_ends_in_a_ramp_to_rest(controller, policy, tmp_path, script, status, reason, states):
    options = ["--steps", 60, "--safety", "hold=0.2", "--seed", 3]
    got_status, got_reason, columns = driven(controller, policy, tmp_path, script, *options)
    assert (got_status, got_reason) == (status, reason)
    assert set(columns["state"]) == states
    commands = commands_of(columns)
    assert (np.abs(commands) <= 1.0).all()
    ramp = 0.5 * 2.0 * 0.05  # half of the range a second
    first = np.abs(commands[0]).max()
    assert 0.0 < first <= ramp + 1e-6
    moved = np.abs(np.diff(commands, axis=0)).max(axis=1)
    slow = np.isin(columns["state"][1:], ["ramp_out", "stopped", "holding"])
    assert (moved[slow] <= ramp + 1e-6).all()
    if "stopped" in states and not reason.startswith("second"):
        assert (commands[-1] == 0.0).all()
        assert 4 <= columns["state"].count("stopped") <= 6  # 0.2 s of hold, in ticks of 0.05 or 0.07 s


@pytest.mark.parametrize(
    ("script", "options", "cause", "message"),
    [
        ("lost 1 999 0\n", [], "age", "the robot gave no observation within 2 s; is it switched on?"),
        (
            "lost 1 999 0\n",
            ["--steps", 10],
            "end",
            "the robot gave no observation before its time was over; is it switched on?",
        ),
        (
            "old 1 999 9\n",
            ["--safety", "start_limit=1"],
            "age",
            "the robot gave no fresh observation within 1 s: the newest is 9 s old; observe must return the time "
            "of its measurement on the steady clock",
        ),
        (
            "nan 1 999 0\n",
            [],
            "nan",
            "the robot's observations have NaN or infinite entries; look at its sensors",
        ),
        ("broken 1 999 0\n", [], "error", "the robot cannot be read: the bus is broken"),
    ],
)
def test_robot_that_gives_nothing_usable_is_bad_input(
    controller, policy, tmp_path, script, options, cause, message
):
    (tmp_path / "incident.txt").write_text(script)
    log = tmp_path / "log.csv"
    drive = ["--ramp", "--episodes", 2, "--incident", tmp_path / "incident.txt", "--log", log]
    assert refused(controller, policy, HALF_CHEETAH, *drive, *options) == f"controller: {message}"
    first, _, *rows = log.read_text().splitlines()
    assert first == f"# stopped by: {cause}: {message}"[:120].ljust(120)
    assert {row.rpartition(",")[2] for row in rows} == {""}  # no command was written


def test_emergency_stop_writes_no_further_command(controller, policy, tmp_path):
    status, reason, columns = driven(controller, policy, tmp_path, "signal 30 30 3\n")
    assert (status, reason) == (131, "emergency: Quit")
    assert len(columns["state"]) == 30


def test_stop_while_an_episode_ends_stops_the_next_one(controller, policy, tmp_path):
    """As in Python: the SIGTERM comes while episode 0 ramps to rest, and episode 1 does not start."""
    options = ["--episodes", 2, "--steps", 10]
    status, first, columns = driven(controller, policy, tmp_path, "signal 15 15 15\n", *options)
    assert (status, first) == (143, "end")
    assert columns["state"][14] == "ramp_out"
    first, _, *rows = (tmp_path / "log-1.csv").read_text().splitlines()
    assert first.startswith("# stopped by: stop: Terminated ")
    assert [row.split(",")[1:4] for row in rows] == [["1", "stopped", "stop"]]


def test_library_keeps_requests_until_a_drive_answers_them(library, policy):
    done = run(library, "requests", policy)
    assert done.stdout.splitlines() == [
        "stop before start: stopped stop",
        "after that: ramp_in none",
        "stop, then start: stopped stop",
        "after that: ramp_in none",
        "stop in the ramp of end: stopped end",
        "after that: stopped stop",
        "after that: ramp_in none",
        "emergency before start: stopped emergency",
        "after that: ramp_in none",
        "end and fail before start: ramp_in none",
    ], done.stderr


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
def test_terminal_does_not_freeze_a_program_in_the_background(controller, policy, tmp_path, number):
    (tmp_path / "incident.txt").write_text(f"signal 30 30 {int(number)}\n")
    options = ["--ramp", "--steps", "60", "--incident", tmp_path / "incident.txt"]
    # In a group of its own, as a shell's job: the system freezes no group without a parent in its session.
    done = subprocess.run(
        [controller, policy, HALF_CHEETAH, *options],
        capture_output=True,
        timeout=60,
        process_group=0,
        check=False,
    )
    assert done.returncode == 0


def test_signal_without_the_layer_leaves_log_and_rest(controller, policy, tmp_path):
    log = tmp_path / "log.csv"
    command = [controller, policy, HALF_CHEETAH, "--realtime", "--log", log]
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
        "text": True,
        "preexec_fn": obey_signals,
    }
    with subprocess.Popen(command, **options) as program:
        wait_for_rows(log)
        program.send_signal(signal.SIGINT)
        printed, _ = program.communicate(timeout=60)
    assert program.returncode == 130
    assert printed.splitlines()[-1] == "stopped by: stop: Interrupt"
    assert log.read_text().startswith("# stopped by: stop: Interrupt ")
    _, commands = observed_and_commanded(log)
    assert (commands[-1] == 0.0).all()
    assert np.abs(np.diff(commands[-3:], axis=0)).max() <= 0.05 + 1e-6


def wait_for_rows(log):
    give_up = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > 4000) and time.monotonic() < give_up:
        time.sleep(0.01)


FAULTS = """
  static int reads = 0;
  static const std::string fault = std::getenv("FAULT");
  static double last = 0.0;
  if (++reads <= 30) return last = clock_();
  if (fault == "throws") throw std::runtime_error("no answer");
  return fault == "none" ? std::nullopt : std::optional<double>(last);
"""


@pytest.fixture(scope="module")
def other_robot(controller, tmp_path_factory):
    """The program with another robot.cpp: its sensors fail from the 31st tick on."""
    folder, sources = tmp_path_factory.mktemp("robot"), ROOT / "examples" / "controller"
    text = (sources / "robot.cpp").read_text()
    assert text.count("  return clock_();\n") == 1
    (folder / "robot.cpp").write_text(text.replace("  return clock_();\n", FAULTS))
    mujoco_include = Path(mujoco.__file__).parent / "include"
    flags = ["-std=c++17", f"-I{sources}", f"-I{sources / 'include'}", f"-I{mujoco_include}"]
    flags += ["-fsanitize=address,undefined"] if BUILD == "controller-sanitized" else []
    compiled = folder / "robot.cpp.o"
    subprocess.run(["c++", *flags, "-c", folder / "robot.cpp", "-o", compiled], check=True)
    link = (controller.parent / "CMakeFiles" / "controller.dir" / "link.txt").read_text()
    link = link.replace("CMakeFiles/controller.dir/robot.cpp.o", str(compiled))
    link = link.replace(" -o controller ", f" -o {folder / 'controller'} ")
    subprocess.run(link, shell=True, check=True, cwd=controller.parent)
    return folder / "controller"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("none", "age"), ("old", "age"), ("throws", "error: the robot cannot be read: no answer")],
)
def test_watchdogs_see_what_observe_of_a_robot_returns(
    other_robot, policy, tmp_path, monkeypatch, fault, reason
):
    monkeypatch.setenv("FAULT", fault)
    status, first, columns = driven(other_robot, policy, tmp_path)
    assert (status, first) == (1, reason)
    assert columns["state"][29] == "running"
    ages = [float(age) for age in columns["age"]]
    assert ages[:30] == [0.0] * 30
    if reason == "age":  # five control periods of 0.05 s
        assert columns["state"].index("ramp_out") in (34, 35)
        assert ages[33] == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(
    ("keys", "status", "reason", "last"),
    [("xq", 0, "stop", 0.0), ("qq", 0, "second_stop", None), ("e", 1, "emergency", None)],
)
def test_key_stops_the_controller(controller, policy, tmp_path, keys, status, reason, last):
    """The keys of docs/driving.md, in a terminal of its own."""
    log = tmp_path / "log.csv"
    child, terminal = pty.fork()
    if child == 0:
        options = ["--ramp", "--realtime", "--log", str(log), "--safety", "hold=0.1"]
        os.execv(controller, [str(controller), str(policy), str(HALF_CHEETAH), *options])
    wait_for_rows(log)
    before = termios.tcgetattr(terminal)[3]
    os.write(terminal, keys.encode())
    printed = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal
        while part := os.read(terminal, 1000):
            printed += part
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status, printed
    assert not before & termios.ICANON  # keys came without Enter
    assert log.read_text().startswith(f"# stopped by: {reason} ")
    _, commands = observed_and_commanded(log)
    assert last is None or (commands[-1] == last).all()
    os.close(terminal)


def test_same_seed_starts_in_the_same_states(controller, policy, tmp_path):
    def returns(seed):
        done = run(
            controller, policy, HALF_CHEETAH, "--episodes", 2, "--steps", 20, "--seed", seed, cwd=tmp_path
        )
        return [line for line in done.stdout.splitlines() if line.startswith("episode")]

    first = returns(1)
    assert first == returns(1)
    assert first != returns(2)
    assert first[0].split("return")[1] != first[1].split("return")[1]


def test_episode_has_as_many_commands_as_in_python(controller, tmp_path):
    file = export(tmp_path, action_repeat=3)
    done = run(controller, file, HALF_CHEETAH, cwd=tmp_path)
    assert f" in {math.ceil(1000 / 3)} steps" in done.stdout


def whole_rows(log):
    """Return the number of the rows of a log, each of which must be complete."""
    text = log.read_text()
    assert text.endswith("\n")
    _, header, *lines = text.splitlines()
    width = header.count(",")
    assert all(line.count(",") == width for line in lines)
    assert [int(line.split(",")[1]) for line in lines] == list(range(1, len(lines) + 1))
    return len(lines)


def test_killed_program_leaves_its_log(controller, policy, tmp_path):
    log = tmp_path / "log.csv"
    command = [controller, policy, HALF_CHEETAH, "--realtime", "--log", log]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        give_up = time.monotonic() + 60
        while not log.exists() and program.poll() is None and time.monotonic() < give_up:
            time.sleep(0.01)
        time.sleep(2.0)
        early = program.poll() is None
        program.kill()
    assert early
    assert 15 <= whole_rows(log) <= 45  # 40 periods of 0.05 s


def test_error_of_mujoco_leaves_the_log(controller, policy, tmp_path):
    start = np.zeros(18)
    start[1] = 3.0  # it falls, and the memory does not suffice for the contacts
    np.savetxt(tmp_path / "start.txt", start)
    model = half_cheetah_with(tmp_path, "<option", '<size memory="8K"/><option', 1)
    log = tmp_path / "log.csv"
    options = ["--initial-state", tmp_path / "start.txt", "--log", log]
    done = run(controller, policy, model, *options, cwd=tmp_path)
    assert done.returncode == 1
    assert "controller: MuJoCo: " in done.stderr
    assert log.read_text().startswith("# stopped by: error: the program ended with an error ")
    assert 10 <= whole_rows(log) <= 100


@pytest.mark.parametrize(
    ("name", "ramp"), [("nowhere/log.csv", ["--ramp"]), ("", []), ("/dev/full", ["--ramp"])]
)
def test_unwritable_log_is_refused_before_the_start(controller, policy, tmp_path, name, ramp):
    line = refused(controller, policy, HALF_CHEETAH, "--log", tmp_path / name, *ramp)
    assert f"--log={tmp_path / name} cannot be written: " in line


@pytest.mark.parametrize("former", ["log.csv", "log-1.csv"])
def test_log_of_a_former_drive_is_not_overwritten(controller, policy, tmp_path, former):
    (tmp_path / former).write_text("# stopped by: nan\n")
    line = refused(controller, policy, HALF_CHEETAH, "--log", tmp_path / "log.csv", "--ramp", "--episodes", 2)
    assert line.endswith(f"--log={tmp_path / former} exists; give another file, or remove it")
    assert [path.name for path in tmp_path.iterdir()] == [former]
    assert (tmp_path / former).read_text() == "# stopped by: nan\n"


def test_log_whose_reader_is_gone_ends_in_a_ramp(controller, policy, tmp_path):
    fifo = tmp_path / "log.fifo"
    os.mkfifo(fifo)
    command = [controller, policy, HALF_CHEETAH, "--ramp", "--steps", 1_000_000, "--log", fifo]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "preexec_fn": obey_signals}
    with subprocess.Popen([str(part) for part in command], text=True, **options) as program:
        with fifo.open("rb") as reader:
            assert reader.read(14) == b"# stopped by: "
        printed, _ = program.communicate(timeout=60)
    assert program.returncode == 1
    assert printed.splitlines()[-1] == "stopped by: error: the log cannot be written: Broken pipe"


@pytest.mark.parametrize(
    ("size", "status", "says"),
    [
        (20_000, 1, "stopped by: error: the log cannot be written: File too large"),
        (0, 2, "cannot be written: File too large"),
    ],
)
def test_log_beyond_the_file_size_limit_does_not_kill(controller, policy, tmp_path, size, status, says):
    def limited():
        obey_signals()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    log = tmp_path / "log.csv"
    command = [controller, policy, HALF_CHEETAH, "--ramp", "--log", log]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, preexec_fn=limited, check=False
    )
    assert done.returncode == status
    assert says in done.stdout + done.stderr
    assert size == 0 or log.read_text().startswith("# stopped by: error: the log cannot be written: ")


@pytest.mark.parametrize(
    ("observation", "command", "says"),
    [(17, 6, "usable"), (16, 6, "wrong width 7"), (1000, 6, "wrong width 7"), (17, 5, "wrong width 7")],
)
def test_wrong_width_writes_nothing(library, policy, observation, command, says):
    done = run(library, "widths", policy, observation, command)
    assert done.stdout.startswith(says), done.stderr  # the command was 7 before


@pytest.mark.parametrize("options", [{}, LIMITED], ids=["plain", "limited"])
def test_decisions_allocate_nothing(library, tmp_path, options):
    done = run(library, "allocations", export(tmp_path, **options))
    assert done.stdout.startswith("0 allocations, "), done.stderr
    assert int(done.stdout.split()[2]) > 1000  # the counter counts


@pytest.mark.parametrize("options", [{}, LIMITED], ids=["plain", "limited"])
def test_fuzzed_observations_never_leave_bounds_and_slew_limits(library, tmp_path, options):
    done = run(library, "fuzz", export(tmp_path, **options), 5_000, 20, 0)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("0 outside, 0 jumps, ")
    assert int(done.stdout.split()[4]) > 100_000  # commands
    assert int(done.stdout.split()[6]) > 5_000  # observations that are not finite


def test_infinite_observation_gets_the_fallback(controller, policy, tmp_path):
    start = start_state("HalfCheetah-v5")
    start[-1] = 1e39  # more than float32 holds
    printed, _, commands = flight(controller, policy, HALF_CHEETAH, start, 1, tmp_path)
    assert "unusable observations: 1" in printed
    assert (commands == 0.0).all()


def complaints(done):
    """Return the lines on stderr, without MuJoCo's warnings about the model."""
    return [line for line in done.stderr.splitlines() if not line.startswith("controller: MuJoCo warns")]


def refused(controller, *arguments):
    """Return the one line with which the controller refuses; nothing is printed before it."""
    done = run(controller, *arguments)
    assert done.returncode == 2, done.stderr
    lines = complaints(done)
    assert len(lines) == 1, lines
    assert lines[0].startswith("controller: ")
    assert done.stdout == ""
    return lines[0]


def half_cheetah_with(folder, old, new, times):
    text = HALF_CHEETAH.read_text()
    assert text.count(old) == times
    (folder / "model.xml").write_text(text.replace(old, new))
    return folder / "model.xml"


def test_a_missing_policy_or_model_is_named(controller, policy):
    assert "nowhere.pt does not exist" in refused(controller, "nowhere.pt", HALF_CHEETAH)
    assert "nowhere.xml does not exist" in refused(controller, policy, "nowhere.xml")


@pytest.mark.parametrize("keep", [0, 5000, -1])
def test_a_truncated_policy_is_refused(controller, policy, tmp_path, keep):
    (tmp_path / "policy.pt").write_bytes(policy.read_bytes()[:keep])
    assert "cannot be read as a TorchScript file" in refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)


def test_policy_with_another_hash_is_refused(controller, policy, tmp_path):
    whole = policy.read_bytes()
    (tmp_path / "policy.json").write_text(f'{{"file_sha256": "{"0" * 64}"}}')
    (tmp_path / "policy.pt").write_bytes(whole)
    assert "does not have the sha256 that" in refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)
    (tmp_path / "policy.json").write_text("nothing")
    assert "is not the metadata" in refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)


def flip_a_weight(name, content):
    """Change the lowest bit of one number in the largest tensor of a file."""
    largest = len(content) == 4 * 256 * 256
    return bytes([content[0] ^ 1]) + content[1:] if largest else content


def edit_metadata(old, new):
    """Return a function that edits policy.json, but not the copy in the module."""
    return lambda name, content: content.replace(old, new) if name.endswith("extra/policy.json") else content


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (flip_a_weight, "has other weights than those that its metadata records; export it again"),
        (
            edit_metadata(b'"control_dt": 0.05', b'"control_dt": 0.04'),
            "policy.json was changed after the export",
        ),
        (edit_metadata(b'"weights_sha256": "', b'"weights_sha256": "0'), "has other weights than those"),
        (edit_metadata(b'"weights_sha256"', b'"weights"'), "has other weights than those"),
    ],
    ids=["weight", "metadata", "hash", "no hash"],
)
def test_edited_policy_is_refused_without_a_json_beside(controller, policy, tmp_path, edit, message):
    file, edits = tmp_path / "policy.pt", 0
    with zipfile.ZipFile(policy) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as new:
        for entry in old.namelist():
            content = old.read(entry)
            changed = edit(entry, content)
            edits += changed != content
            new.writestr(entry, changed)
    assert edits == 1
    with pytest.raises(InputError, match=message):  # as in Python
        load_exported(file)
    assert message in refused(controller, file, HALF_CHEETAH)
    assert message in refused(controller, file, HALF_CHEETAH, "--libtorch")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_other_files_of_torch_are_refused(controller, tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    assert "TorchScript" in refused(controller, tmp_path / "checkpoint.pt", HALF_CHEETAH)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "linear.pt")
    assert "holds no policy.json" in refused(controller, tmp_path / "linear.pt", HALF_CHEETAH)


class Halving(ExportedPolicy):
    """A module with the parts of an exported policy that computes something else."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return 0.5 * self._command(self._offset(observation))


def test_packed_network_that_differs_is_refused(controller, policy, tmp_path):
    loaded = load_exported(policy)
    untrained = Policy(ObservationNormalizer(17), make_policy(17, 6, hidden=[8]).actor).eval()
    save_exported(Halving(untrained, loaded.spec), loaded.metadata, tmp_path / "policy.pt")
    line = refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)
    assert "does not act as its packed network" in line
    assert "run it with libtorch (--libtorch)" in line
    untrained.actor.trunk[2] = torch.nn.ELU()
    save_exported(ExportedPolicy(untrained, loaded.spec), loaded.metadata, tmp_path / "policy.pt")
    line = refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)
    assert "the packed engine does not know: a layer of type ELU" in line
    done = run(controller, tmp_path / "policy.pt", HALF_CHEETAH, "--libtorch", "--steps", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_is_no_model_is_refused(controller, policy, tmp_path):
    (tmp_path / "model.xml").write_text("<mujoco><worldbody><geom/></worldbody>")
    assert "as a MuJoCo model" in refused(controller, policy, tmp_path / "model.xml")


def test_a_model_with_other_joints_is_refused(controller, policy, tmp_path):
    line = refused(controller, policy, ASSETS / "walker2d_v5.xml")
    assert "bthigh, bshin, bfoot" in line
    assert "thigh_joint, leg_joint" in line
    renamed = half_cheetah_with(tmp_path, '"bfoot"', '"hindfoot"', 5)
    assert "bthigh, bshin, hindfoot" in refused(controller, policy, renamed)


def test_a_model_with_another_time_step_is_refused(controller, policy, tmp_path):
    model = half_cheetah_with(tmp_path, 'timestep="0.01"', 'timestep="0.005"', 1)
    line = refused(controller, policy, model)
    assert "every 0.05 s" in line
    assert "take 0.025 s" in line


def test_model_with_narrower_limits_is_refused(controller, policy, tmp_path):
    motor = '<motor gear="30" joint="ffoot"'
    model = half_cheetah_with(tmp_path, motor, motor + ' ctrlrange="-0.9 1"', 1)
    line = refused(controller, policy, model)
    assert "commands ffoot within [-1, 1]" in line
    assert "[-0.9, 1]" in line


def test_model_with_another_gear_is_refused(controller, policy, tmp_path):
    model = half_cheetah_with(tmp_path, '<motor gear="30" joint="ffoot"', '<motor gear="31" joint="ffoot"', 1)
    line = refused(controller, policy, model)
    assert "made for an actuator of ffoot with gear 30, but that of" in line
    assert line.endswith("model.xml has 31")


def test_other_model_file_is_refused_where_it_must_be_the_same(controller, policy, tmp_path):
    model = half_cheetah_with(tmp_path, "<option", "<!-- edited --><option", 1)
    done = run(controller, policy, HALF_CHEETAH, "--same-model", "--steps", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = refused(controller, policy, model, "--same-model")
    assert "made for a model file with the sha256 " in line
    assert line.endswith(f"has {hashlib.sha256(model.read_bytes()).hexdigest()}")
    assert run(controller, policy, model, "--steps", 3, cwd=tmp_path).returncode == 0


def test_each_episode_has_a_log(controller, policy, tmp_path):
    options = ["--ramp", "--safety", "hold=0.1", "--episodes", 2, "--steps", 5]
    done = run(controller, policy, HALF_CHEETAH, *options, "--log", tmp_path / "flight.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"flight.csv", "flight-1.csv"}
    assert all(file.read_text().startswith("# stopped by: end ") for file in tmp_path.iterdir())
    options = [
        "--ramp",
        "--episodes",
        2,
        "--log",
        tmp_path / "cut.csv",
        "--incident",
        tmp_path / "incident.txt",
    ]
    (tmp_path / "incident.txt").write_text("nan 3 99 0\n")
    done = run(controller, policy, HALF_CHEETAH, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "stopped by: nan")
    assert done.stdout.count("episode ") == 1  # it does not start again


def test_real_time_is_asked_for_and_measured(controller, policy, tmp_path):
    options = [
        "--steps",
        5,
        "--realtime",
        "--priority",
        50,
        "--lock-memory",
        "--core",
        min(os.sched_getaffinity(0)),
    ]
    done = run(controller, policy, HALF_CHEETAH, *options, cwd=tmp_path)
    assert done.returncode == 0
    assert all("permitted" in line or "cannot be locked" in line for line in complaints(done))
    assert re.search(r"^jitter: p50 [\d.]+ us, p99 [\d.]+ us, max [\d.]+ us over 6$", done.stdout, re.M)
    done = run(controller, policy, HALF_CHEETAH, "--steps", 2, "--realtime", "--core", 1000, cwd=tmp_path)
    assert done.returncode == 0
    assert complaints(done) == ["controller: core 1000 is not permitted: Invalid argument"]


def test_files_of_schema_1_load_and_of_schema_3_do_not(controller, policy, tmp_path):
    loaded = load_exported(policy)
    module = ExportedPolicy(
        Policy(ObservationNormalizer(17), make_policy(17, 6, hidden=[8]).actor).eval(), loaded.spec
    )
    metadata = {name: value for name, value in loaded.metadata.items() if name != "robot"}
    save_exported(module, {**metadata, "schema_version": 1}, tmp_path / "policy.pt")
    done = run(controller, tmp_path / "policy.pt", HALF_CHEETAH, "--steps", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    save_exported(module, {**metadata, "schema_version": 3}, tmp_path / "policy.pt")
    line = refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)
    assert "metadata of schema 3; this program reads 1 and 2" in line


@pytest.mark.parametrize("rest", [["a", 0, 0, 0, 0, 0], "home", [0.0], {"bthigh": 0.0}])
def test_rest_that_is_no_list_of_numbers_is_refused(controller, policy, tmp_path, rest):
    loaded = load_exported(policy)
    module = ExportedPolicy(
        Policy(ObservationNormalizer(17), make_policy(17, 6, hidden=[8]).actor).eval(), loaded.spec
    )
    save_exported(module, {**loaded.metadata, "rest": rest}, tmp_path / "policy.pt")
    line = refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)
    assert (
        f"rest in policy.json is {json.dumps(rest, separators=(',', ':'))}; expected one number for each"
        in line
    )


@pytest.mark.parametrize(
    ("rest", "slew_rate", "message"),
    [
        ([0, 9, 0, 0, 0, 0], [None] * 6, "rest of joint 'bshin' is 9, outside its bounds [-1, 1]; export"),
        (
            [0] * 6,
            [None] * 5 + [0.0],
            "the slew limit of joint 'ffoot' is 0; expected a number above 0, or none",
        ),
    ],
)
def test_rest_and_slew_limit_that_cannot_be_used_are_refused(
    controller, policy, tmp_path, rest, slew_rate, message
):
    loaded = load_exported(policy)
    module = ExportedPolicy(
        Policy(ObservationNormalizer(17), make_policy(17, 6, hidden=[8]).actor).eval(), loaded.spec
    )
    metadata = {**loaded.metadata, "rest": rest, "task": {**loaded.metadata["task"], "slew_rate": slew_rate}}
    save_exported(module, metadata, tmp_path / "policy.pt")
    assert message in refused(controller, tmp_path / "policy.pt", HALF_CHEETAH)


def test_a_policy_whose_commands_are_no_actuators_is_refused(controller, tmp_path):
    line = refused(controller, export(tmp_path, fields={"command_is_actuator": False}), HALF_CHEETAH)
    assert "the policy's commands are the environment's, not an actuator's: this program cannot drive" in line
    known = {
        "command_is_actuator": True,
        "observes_last_command": True,
    }  # the file itself adds the last command
    done = run(controller, export(tmp_path, fields=known), HALF_CHEETAH, "--steps", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_observations_that_are_no_joints_are_refused_by_name(controller, tmp_path):
    line = refused(controller, export(tmp_path, "Ant-v5"), ASSETS / "ant.xml")
    assert "observes 'cfrc_ext', which is no position or velocity of a joint" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: "),
        (["--steps", "0"], "--steps=0 is not a whole number from 1 to 1000000000"),
        (["--episodes", "2x"], "--episodes=2x is not"),
        (["--episodes", "1000001"], "--episodes=1000001 is not a whole number from 1 to 1000000"),
        (["--ramp", "--incident", "/tmp"], "--incident=/tmp cannot be read"),
        (["--seed", "-1"], "--seed=-1 is not"),
        (["--safety", "hold=1"], "--safety and --incident need --ramp"),
        (["--priority", "100", "--realtime"], "--priority=100 is not a whole number from 1 to 99"),
        (["--core", "0"], "--priority, --core and --lock-memory need --realtime"),
        (["--ramp", "--safety", "hold=x"], "--safety hold=x is not NAME=NUMBER"),
        (["--ramp", "--safety", "ramp_rate=0"], "ramp_rate must be a positive number"),
        (["--ramp", "--safety", "age_limit=0.01"], "age_limit must be at least dt"),
        (["--ramp", "--incident", "nowhere.txt"], "--incident=nowhere.txt cannot be read"),
        (["--loops", "3"], "cannot use --loops"),
        (["--initial-state", "nowhere.txt"], "--initial-state=nowhere.txt cannot be read"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(controller, policy, arguments, message):
    files = [policy, HALF_CHEETAH] if arguments else []
    assert message in refused(controller, *files, *arguments)


@pytest.mark.parametrize("numbers", ["1 2 3", "0 " * 19, "0 " * 17 + "x"])
def test_a_state_of_another_size_is_refused(controller, policy, tmp_path, numbers):
    (tmp_path / "start.txt").write_text(numbers)
    line = refused(controller, policy, HALF_CHEETAH, "--initial-state", tmp_path / "start.txt")
    assert "must hold 9 positions (qpos) and then 9 velocities (qvel)" in line


def built(source, prefix, folder):
    """Build a project on the installed library."""
    for command in (
        ["cmake", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}"],
        ["cmake", "--build", folder],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def prefix(controller, tmp_path_factory):
    """A folder where the library is installed."""
    prefix = tmp_path_factory.mktemp("prefix")
    command = ["cmake", "--install", controller.parent, "--prefix", prefix]
    subprocess.run(command, check=True, capture_output=True)
    return prefix


@pytest.mark.slow
def test_installed_library_serves_another_project(prefix, policy, tmp_path):
    robot = built(ROOT / "examples" / "controller" / "consumer", prefix, tmp_path) / "robot"
    assert [path.name for path in (prefix / "include").iterdir()] == ["acer_controller.hpp"]
    assert len((prefix / "include" / "acer_controller.hpp").read_text().splitlines()) < 150
    done = run(robot, policy)
    assert done.returncode == 0, done.stderr
    *commands, reason = done.stdout.splitlines()
    assert reason == "stopped by: stop"
    assert commands[0].startswith("ramp_in ")
    assert commands[-1] == "stopped 0"


@pytest.fixture(scope="module")
def stub_test(prefix, tmp_path_factory):
    """The plugin and its test program: POLICY.pt UPDATE_RATE [TICKS [FROZEN_TICKS [FROZEN_FROM]]]."""
    return built(ROOT / "examples" / "ros2_control", prefix, tmp_path_factory.mktemp("ros2")) / "stub_test"


@pytest.mark.slow
def test_ros2_plugin_runs_against_the_stub(stub_test, policy):
    done = run(stub_test, policy, 20)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["command bthigh/effort", "command bshin/effort"]
    assert {"state bthigh/position", "state rootx/velocity"} < set(lines)
    efforts = np.array([[float(x) for x in line.split()[1:]] for line in lines if line.startswith("tick")])
    gears = np.array([120.0, 90.0, 60.0, 120.0, 60.0, 30.0])
    moved = np.abs(np.diff(efforts, axis=0)) / gears
    assert np.abs(efforts[:38] / gears).max() > 0.3
    assert (efforts[29] == efforts[28]).all()  # a NaN: it holds
    assert moved[39:].max() <= 0.05 + 1e-6
    assert (efforts[-1] == 0.0).all()
    assert len(efforts) < 100  # it ended


@pytest.mark.slow
def test_ros2_plugin_refuses_rate_and_count(stub_test, policy):
    done = run(stub_test, policy, 25)
    assert done.returncode == 1
    assert done.stderr == (
        "the policy decides every 0.05 s, but control periods of the controller manager take 0.04 s\n"
    )
    for count in ("-1", "4294967296"):
        done = run(stub_test, policy, 20, "1", count)
        assert done.returncode == 1
        assert done.stderr == (
            f"frozen_ticks is {count}; expected a whole number from 0 to 1000000, 0 for no limit\n"
        )


@pytest.mark.slow
def test_ros2_plugin_leaves_no_effort_behind(stub_test, policy, tmp_path):
    """A deactivation in mid-drive: efforts and velocities become 0, positions stay as they hold."""
    loaded = load_exported(policy)
    metadata = json.loads(json.dumps(loaded.metadata))
    kinds = ["motor", "position", "velocity", "motor", "motor", "motor"]
    for actuator, kind in zip(metadata["robot"]["actuators"], kinds, strict=True):
        actuator["kind"] = kind
    metadata["robot"]["actuators"][1]["gear"] = 0.5  # the joint stands within its bounds
    untrained = Policy(ObservationNormalizer(17), make_policy(17, 6, hidden=[8]).actor).eval()
    save_exported(ExportedPolicy(untrained, loaded.spec), metadata, tmp_path / "policy.pt")
    done = run(stub_test, tmp_path / "policy.pt", 20, "20")
    assert done.returncode == 0, done.stderr
    last, left = ([float(x) for x in line.split()[1:]] for line in done.stdout.splitlines()[-2:])
    assert all(last)
    gears = np.array([actuator["gear"] for actuator in metadata["robot"]["actuators"]])
    commands = [
        x / gear if kind == "motor" else x * gear for x, gear, kind in zip(last, gears, kinds, strict=True)
    ]
    assert np.abs(commands).max() <= 1.0 + 1e-6, "a position is the command divided by the gear"
    assert left == [last[1] if kind == "position" else 0.0 for kind in kinds]


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "first"), [("10", 60), ("20", 70), ("0", None)])
def test_ros2_plugin_stops_if_the_states_freeze(stub_test, policy, limit, first):
    """The states stand still from tick 50 on; a policy without memory then repeats its command."""
    done = run(stub_test, policy, 20, "98", limit, "50")
    assert done.returncode == 0, done.stderr
    efforts = [line for line in done.stdout.splitlines() if line.startswith("tick")]
    moves = [i for i in range(51, len(efforts) + 1) if efforts[i - 1] != efforts[i - 2]]
    assert (moves[0] if moves else None) == first


@pytest.mark.parametrize("engine", [(), ("--libtorch",)])
def test_bench_prints_one_line(controller, policy, engine):
    done = run(controller, "--bench", policy, *engine)
    assert done.returncode == 0
    assert done.stdout.startswith("latency of a decision: p50 ")
    assert done.stdout.count("\n") == 1


def test_help_prints_the_usage(controller):
    done = run(controller, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: controller ")
    assert "--initial-state FILE" in done.stdout


def test_robot_follows_a_velocity_as_in_python(controller, tmp_path):
    """Pup from its home pose: gyroscope, gravity, last command and velocity are built as in training."""
    options = composed_train("task=robot/pup").task
    kwargs = {"start_angle": 0, "start_speed": 0, "redraw_seconds": 1e5}
    config = dataclasses.asdict(options) | {"kwargs": kwargs, "velocity": [0.5, -0.1, 0.2]}
    file = export(tmp_path, config.pop("id"), **config)
    (tmp_path / "robot.xml").write_text(robot_xml(options))
    log, steps = tmp_path / "log.csv", 30
    given = ["--steps", steps, "--log", log, "--velocity", "0.5,-0.1,0.2"]
    done = run(controller, file, tmp_path / "robot.xml", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = np.hstack(observed_and_commanded(log))
    loaded = load_exported(file)
    task = make_task(loaded.task_config, 1, 0)
    np.testing.assert_allclose(rows[0, :45], task.reset()[0], rtol=0, atol=1e-6)
    task.close()
    # Later rows are compared with themselves: the last digit of robot.xml decides whether a foot touches at first.
    np.testing.assert_array_equal(rows[1:, 30:42], rows[:-1, 45:])
    np.testing.assert_allclose(rows[:, 42:45], np.tile([0.5, -0.1, 0.2], (steps, 1)), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows[:, 3:6], axis=1), 1.0, rtol=1e-5)
    expected = loaded.act(torch.from_numpy(rows[:, :45].astype(np.float32)))
    np.testing.assert_allclose(rows[:, 45:], expected, rtol=0, atol=2e-5)
    assert np.ptp(rows[:, 2]) > 0.1  # it turns


def export_walker(folder, actuator, more="", **options):
    """Write a robot that starts still at its home pose, and a policy for it; return its options and the file."""
    rows = "".join(f"<{actuator.format(side + '_hip')}/>" for side in LEGS)
    xml = walker(extra=f'<option integrator="implicitfast"/>{more}<actuator>{rows}</actuator>')
    options |= {"actuators": {}, "home": {".*": 0.5}, "velocity": [0.5, 0, 0]}
    kwargs = {"start_angle": 0, "start_speed": 0, "redraw_seconds": 1e5}
    config = walker_config(folder, xml, kwargs=kwargs, **options)
    fields = dataclasses.asdict(config)
    (folder / "robot.xml").write_text(robot_xml(config))
    return config, export(folder, fields.pop("id"), **fields)


def test_robot_outside_its_bounds_is_refused(controller, tmp_path):
    """Commands are twice the joints' positions: the legs stand at 1."""
    _, file = export_walker(tmp_path, POSITION, bounds={"left_hip": [-0.5, 0.5]})
    given = ["--ramp", "--steps", 4, "--log", tmp_path / "log.csv"]
    done = run(controller, file, tmp_path / "robot.xml", *given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "joint 'left_hip' is at 1, outside its bounds [-0.5, 0.5], so that the first command" in done.stderr
    )
    assert (tmp_path / "log.csv").read_text().startswith("# stopped by: outside: joint 'left_hip' is at 1")


def test_force_limit_of_a_joint_is_the_actuators(controller, tmp_path):
    """A force of 5 at the joint is 2.5 at the actuator, whose gear is 2."""
    limits = '<default><joint actuatorfrcrange="-5 5"/></default>'
    _, file = export_walker(tmp_path, POSITION, limits)
    assert [each["force_limit"] for each in load_exported(file).metadata["robot"]["actuators"]] == [
        [-2.5, 2.5]
    ] * 2
    robot = tmp_path / "robot.xml"
    assert run(controller, file, robot, "--steps", 2, cwd=tmp_path).returncode == 0
    content = robot.read_text()
    assert "-5 5" in content
    robot.write_text(content.replace("-5 5", "-6 6"))
    assert "force_limit" in refused(controller, file, robot)


def test_actuators_start_at_rest_as_in_python(controller, tmp_path):
    """Legs at home, and actuators with a filter and a delay that hold them there."""
    config, file = export_walker(tmp_path, WITH_STATE["both"])
    given = ["--steps", 4, "--log", tmp_path / "log.csv", "--velocity", "0.5,0,0"]
    done = run(controller, file, tmp_path / "robot.xml", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    observed, commanded = observed_and_commanded(tmp_path / "log.csv")
    task = make_task(config, 1, 0)
    expected = [task.reset()[0]]
    expected += [
        task.step(torch.from_numpy(row[None].astype(float))).observations[0] for row in commanded[:-1]
    ]
    np.testing.assert_allclose(observed, torch.stack(expected), rtol=0, atol=1e-4)
    task.close()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.5,0", "is not three numbers"),
        ("0,0,nan", "is not three numbers"),
        ("0,0,0", "follows no velocity"),
    ],
)
def test_unusable_velocity_is_refused(controller, policy, tmp_path, value, message):
    done = run(controller, policy, HALF_CHEETAH, "--velocity", value, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
