"""`acer-deploy` with a plant, and with the safety layer in the simulator: refusals, signals and exit status."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import plants
import pytest
from exported import make_policy, make_run
from plants import MemoryPlant, WallClock

from acer_robot.commands.deploy import DeployConfig, _deploy, deploy, exit_status
from acer_robot.deployment.drive_log import why_stopped
from acer_robot.deployment.export import describe
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.realtime import RealTimeOptions
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.robot_description import Actuator, RobotDescription
from acer_robot.schema import ShownTask, TaskConfig
from acer_robot.spec import ActionBounds
from acer_robot.tasks import make_task

BOUNDS = ActionBounds(("hip", "knee"), (-1.0, -2.0), (1.0, 3.0))
MOTORS = RobotDescription(
    tuple(Actuator(joint, "motor", 5.0, (1.0, 0.0, 0.0), (0.0,) * 3, None, "N m") for joint in BOUNDS.names)
)
QUICK = {"ramp_in": 0.1, "hold": 0.02, "start_limit": 0.1, "late_ticks": 0, "age_limit": 2.0}
PLANT = "plants:make_plant"


def save(folder, changes=None, spec=None):
    run = make_run(make_policy(2, 2), BOUNDS)
    run = dataclasses.replace(run, spec=dataclasses.replace(run.spec, robot=MOTORS, **(spec or {})))
    path = folder / "policy.pt"
    save_exported(ExportedPolicy(run.policy, run.spec), {**describe(run), **(changes or {})}, path)
    return str(path)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return save(tmp_path_factory.mktemp("plant"))


def drive(policy, robot, **options):
    plants.made[:] = [robot]
    options = {"max_steps": 10, "safety": Options(**QUICK), "plant": PLANT, **options}
    return deploy(DeployConfig(policy, **options))


def test_a_plant_is_driven_and_closed(policy, tmp_path):
    plant = MemoryPlant(WallClock())
    summary = drive(policy, plant, log=str(tmp_path / "log.csv"))
    assert (summary["cause"], exit_status(summary)) == ("end", 0)
    assert summary["commands"] == len(plant.written) > 10
    assert (plant.calls[0], plant.calls.count("close"), plant.calls[-1]) == ("connect", 1, "close")
    np.testing.assert_array_equal(plant.written[-1], [0.0, 0.0])
    assert why_stopped(tmp_path / "log.csv") == "end"


@pytest.mark.parametrize(
    ("cause", "number", "status"),
    [
        ("end", None, 0),
        ("stop", None, 0),
        ("second_stop", None, 0),
        ("emergency", None, 1),
        ("emergency", signal.SIGQUIT, 131),
        ("stop", signal.SIGTERM, 143),
        ("age", signal.SIGTERM, 1),  # it came while the robot ramped to rest already
    ],
)
def test_exit_status_of_a_drive(cause, number, status):
    assert exit_status({"cause": cause, "signal": number}) == status


def plant_that_says(**description):
    plant = MemoryPlant(WallClock())
    plant.describe = lambda: description
    return plant


def actuators(**changes):
    return [{"joint": joint, "kind": "motor", **changes} for joint in BOUNDS.names]


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (
            plant_that_says(joints=["hip", "toe"]),
            "the plant has joints ['hip', 'toe'], but the file was made for",
        ),
        (plant_that_says(dt=0.01), "the plant has dt 0.01, but the file was made for 0.02"),
        (
            plant_that_says(bounds=[[-1, 1], [-2, 2]]),
            "joint 'knee': the plant has bounds [-2, 2], but the file was made for [-2.0, 3.0]",
        ),
        (
            plant_that_says(units=["rad", "rad"]),
            "joint 'hip': the plant has units rad, but the file was made for N m",
        ),
        (
            plant_that_says(actuators=actuators(kind="position")),
            "joint 'hip': the plant has kind position, but the file was made for motor",
        ),
        (plant_that_says(actuators=actuators(gear=6.0)), "joint 'hip': the plant has gear 6.0"),
        (
            MemoryPlant(WallClock(), measured=np.array([0.0, -2.3])),
            "joint 'knee' is at -2.3, outside its bounds [-2, 3]",
        ),
        (plant_that_says(color="red"), "describe() has 'color'; it may have actuators, bounds, dt"),
        (MemoryPlant(WallClock(), {"always": np.zeros(3, np.float32)}), "of shape [3]; the policy takes [2]"),
        (
            MemoryPlant(WallClock(), {"always": lambda: "text"}),
            "read() returned 'text'; expected (observation",
        ),
        (
            MemoryPlant(WallClock(), {"always": lambda: (np.zeros(2, np.float32), time.monotonic() - 60.0)}),
            "the newest is 60",
        ),
        (
            MemoryPlant(WallClock(), {"always": lambda: (np.zeros(2, np.float32), time.time() + 1e9)}),
            "s ahead; read() must return time.monotonic()",
        ),
        (MemoryPlant(WallClock(), measured=np.zeros(3)), "measured() returned the shape [3]; expected [2]"),
    ],
)
def test_plant_that_does_not_fit_is_refused_at_the_start(policy, plant, message):
    with pytest.raises(InputError) as caught:
        drive(policy, plant)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert plant.written == []


@pytest.mark.parametrize(
    ("always", "message"),
    [
        (lambda: None, "gave no observation before its time was over; is it switched on?"),
        (
            lambda: (np.zeros(2, np.float32), time.monotonic() - 60.0),
            "gave no fresh observation before its time was over: the newest is 60",
        ),
    ],
)
def test_plant_that_gave_nothing_until_the_end_is_refused(policy, always, message):
    plant = MemoryPlant(WallClock(), {"always": always})
    with pytest.raises(InputError) as caught:
        drive(policy, plant, max_steps=3, safety=Options(**{**QUICK, "start_limit": 5.0}))
    assert message in str(caught.value)
    assert plant.written == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plant": "robot"}, "plant='robot' is not module:function"),
        (
            {"plant": "no_such_robot:make"},
            "No module named 'no_such_robot'; put the folder that holds it on PYTHONPATH",
        ),
        ({"plant": "plants.py:make_plant"}, "write plant=plants:make_plant"),
        (
            {"plant": "plants_importing:make"},
            "No module named 'no_such_bus'; plants_importing imports it: install",
        ),
        ({"plant": "plants:make_nothing"}, "has no attribute 'make_nothing'"),
        ({"plant": "plants:make_none"}, "returned a NoneType without connect()"),
        ({"plant": "plants:make_broken"}, "cannot be made: RuntimeError: no bus"),
        ({"rate": 2.0}, "rate=2.0 is for the simulator"),
        ({"seed": 3}, "seed=3 is for the simulator"),
        ({"task": ShownTask(velocity=[0.0, 0.0, 0.0])}, "task.velocity=[0.0, 0.0, 0.0] is for the simulator"),
        ({"log": "/dev/full"}, "log=/dev/full cannot be written: No space left on device"),
        ({"log": "/no/folder/log.csv"}, "log=/no/folder/log.csv cannot be written: No such file"),
        ({"safety": Options(ramp_rate=0.0)}, "ramp_rate=0.0; expected a number above 0"),
    ],
)
def test_options_that_cannot_be_used(policy, options, message):
    plant = MemoryPlant(WallClock())
    with pytest.raises(InputError) as caught:
        drive(policy, plant, **options)
    assert message in str(caught.value)
    assert plant.calls == []


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"rest": [0.0, 9.0]}, {}, "rest of joint 'knee' is 9, outside its bounds [-2, 3]"),
        ({}, {"slew_rate": (0.0, 1.0)}, "the slew limit of joint 'hip' is 0; expected a number above 0"),
        ({"schema_version": 3}, {}, "metadata of schema 3; this version reads 1 and 2"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, changes, spec, message):
    plant = MemoryPlant(WallClock())
    with pytest.raises(InputError) as caught:
        drive(save(tmp_path, changes, spec), plant)
    assert message in str(caught.value)
    assert plant.calls == []


@pytest.mark.parametrize("entry", [{"units": ["rad"] * 2}, {"actuators": []}, {"model_sha256": "ab"}])
def test_what_a_file_does_not_say_cannot_be_compared(tmp_path, entry):
    file = save(tmp_path, {"robot": None})
    assert drive(file, plant_that_says(joints=["hip", "knee"]), max_steps=3)["cause"] == "end"
    with pytest.raises(
        InputError, match=f"has '{next(iter(entry))}', and the file does not say for which robot"
    ):
        drive(file, plant_that_says(**entry))


def test_error_after_the_end_is_told(policy, tmp_path, capsys):
    plants.made[:] = [MemoryPlant(WallClock(), {13: lambda: "text"})]
    options = {"max_steps": 10, "safety": Options(**QUICK), "plant": PLANT}
    with pytest.raises(SystemExit, match="1"):
        _deploy(DeployConfig(policy, **options))
    assert "after the end: the plant's read() returned 'text'" in capsys.readouterr().out


def test_a_file_of_schema_1_drives(tmp_path):
    plant = MemoryPlant(WallClock())
    file = save(tmp_path, {"schema_version": 1, "robot": None})
    assert drive(file, plant, max_steps=3)["cause"] == "end"


def start(policy, folder, *options):
    support = str(Path(plants.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": support, plants.RECORD: str(folder / "record.txt")}
    command = [sys.executable, "-m", "acer_robot.commands.deploy", f"policy={policy}", f"plant={PLANT}"]
    command += [
        f"log={folder / 'log.csv'}",
        "safety.late_ticks=0",
        "safety.age_limit=5",
        "safety.hold=0.1",
        *options,
    ]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path, lines):
    deadline = time.monotonic() + 60.0
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def recorded(folder):
    *commands, last = (folder / "record.txt").read_text().splitlines()
    assert last == "close"
    return np.array([line.split() for line in commands], float)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ramps_to_rest(policy, tmp_path, number, python_handles_signals):
    process = start(policy, tmp_path)
    wait_for(tmp_path / "record.txt", 60)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    commands = recorded(tmp_path)
    assert (np.abs(np.diff(commands[-15:], axis=0)) <= np.array([1.0, 2.5]) * 0.02 + 1e-6).all()
    np.testing.assert_array_equal(commands[-1], [0.0, 0.0])
    assert why_stopped(tmp_path / "log.csv") == "stop"
    assert json.loads(out.splitlines()[-1])["cause"] == "stop"


def test_a_killed_process_leaves_a_log_that_can_be_read(policy, tmp_path):
    process = start(policy, tmp_path)
    wait_for(tmp_path / "record.txt", 120)
    process.kill()
    process.communicate()
    written = len((tmp_path / "record.txt").read_text().splitlines())
    with (tmp_path / "log.csv").open() as file:
        assert "still running" in file.readline()
        table = list(csv.DictReader(file))
    assert len(table) >= written - 50  # one second
    assert {len(row) for row in table[:-1]} == {6 + 2 + 2 + 2}


def test_bad_input_is_one_line_with_status_2(policy, tmp_path):
    process = start(policy, tmp_path, "plant=plants:make_broken")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = error.splitlines()
    assert "no bus" in line
    assert out == ""


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    config = TaskConfig("gymnasium", "InvertedPendulum-v5")
    task = make_task(config, 1, 0)
    task.close()
    run = make_run(make_policy(task.spec.input_size, 1))
    run = dataclasses.replace(run, spec=task.spec, config=dataclasses.replace(run.config, task=config))
    path = tmp_path_factory.mktemp("ramp") / "policy.pt"
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), path)
    return str(path)


def test_ramp_in_the_simulator(pendulum, tmp_path):
    log = tmp_path / "log.csv"
    summary = deploy(
        DeployConfig(
            pendulum, episodes=2, rate=0.0, ramp=True, log=str(log), safety=Options(ramp_in=0.2, hold=0.1)
        )
    )
    assert summary["cause"] == "end"
    log.rename(tmp_path / "log-2.csv")
    with pytest.raises(InputError, match=r"log=.*log-1\.csv exists"):  # before the first episode
        deploy(DeployConfig(pendulum, episodes=2, rate=0.0, ramp=True, log=str(log)))
    (tmp_path / "log-2.csv").rename(log)
    assert (len(summary["returns"]), len(summary["lengths"])) == (2, 2)
    for path in (log, tmp_path / "log-1.csv"):
        with path.open() as file:
            assert "end" in file.readline()
            table = list(csv.DictReader(file))
        commands = np.array([float(row["command:slider"]) for row in table])
        assert abs(commands[0]) <= 3.0 * 0.04 + 1e-6  # half of the range 6 a second, one control period
        assert commands[-1] == 0.0
        assert (np.abs(commands) <= 3.0).all()
        assert "holding" not in {row["state"] for row in table}, "each tick has a new observation"


def test_ramp_to_rest_counts_in_no_return(pendulum):
    options = {"rate": 0.0, "ramp": True, "safety": Options(ramp_in=0.2, hold=0.1)}
    summary = deploy(DeployConfig(pendulum, max_steps=3, **options))
    assert (summary["lengths"], summary["cause"]) == ([3], "end")
    assert summary["commands"] > 3


def test_options_of_the_layer_without_it_are_refused(pendulum):
    for options, words in (
        ({"log": "x.csv"}, r"log=\.\.\."),
        ({"safety": Options(nan_ticks=1)}, r"safety\.nan_ticks=1"),
        ({"realtime": RealTimeOptions(lock_memory=True)}, r"realtime\.lock_memory=True"),
    ):
        with pytest.raises(InputError, match=f"{words} needs the safety layer; add ramp=true"):
            deploy(DeployConfig(pendulum, **options))
