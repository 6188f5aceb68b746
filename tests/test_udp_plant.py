"""examples/udp_plant: a robot in another process behind a bad network."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from exported import make_policy, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from acer_robot.deployment.drive_log import why_stopped
from acer_robot.deployment.export import describe
from acer_robot.policies.exported.file import save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task

EXAMPLE = Path(__file__).parent.parent / "examples" / "udp_plant"
sys.path.append(str(EXAMPLE))
import packets  # noqa: E402
from channel import Channel, Faults  # noqa: E402
from robot import SILENCE, Robot  # noqa: E402
from udp_plant import UdpPlant  # noqa: E402


@settings(max_examples=50, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(width=32), max_size=20), number=st.integers(0, 2**32 - 1), place=st.data())
def test_a_packet_arrives_whole_or_not_at_all(values, number, place):
    data = packets.pack(packets.COMMAND, number, 1.5, values, drive=7)
    got = packets.unpack(data)
    assert (got.kind, got.drive, got.number, got.sent) == (packets.COMMAND, 7, number, 1.5)
    np.testing.assert_array_equal(got.values, np.array(values, np.float32))
    spoiled = bytearray(data)
    spoiled[place.draw(st.integers(0, len(data) - 1))] ^= 1 << place.draw(st.integers(0, 7))
    assert packets.unpack(bytes(spoiled)) is None
    assert packets.unpack(data[: place.draw(st.integers(0, len(data) - 1))]) is None


def test_channel_does_what_it_says():
    sent = [packets.pack(packets.COMMAND, i, 0.0, [i]) for i in range(2000)]
    channel = Channel(Faults(lost=0.2, delayed=0.3, delay=0.5, repeated=0.1, corrupt=0.1), 0)
    arrived = []
    for i, data in enumerate(sent):
        channel.send(data, i * 0.02)
        arrived += channel.due(i * 0.02)
    whole = [packet.number for packet in map(packets.unpack, arrived) if packet is not None]
    assert 0.05 < 1.0 - len(whole) / len(arrived) < 0.15  # corrupt
    assert 0.15 < 1.0 - len(set(whole)) / 2000 < 0.35  # lost or corrupt
    assert len(whole) > len(set(whole))  # repeated
    assert whole != sorted(whole)  # reordered


def test_plant_takes_the_newest_whole_observation():
    robot = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    robot.bind(("127.0.0.1", 0))
    robot.settimeout(5.0)
    plant = UdpPlant(*robot.getsockname())
    plant.connect()
    _, peer = robot.recvfrom(2000)
    assert plant.read() is None

    def send(number, sent, values, spoil=False):
        data = packets.pack(packets.OBSERVATION, number, sent, values)
        robot.sendto(data[:-1] + b"?" if spoil else data, peer)

    now = time.monotonic()
    send(1, now - 1000.0, [1.0])
    send(3, now - 999.9, [3.0])
    send(2, now - 999.95, [2.0])
    send(4, now, [9.0], spoil=True)
    time.sleep(0.05)
    values, stamp = plant.read()
    np.testing.assert_array_equal(values, [3.0])
    assert stamp <= time.monotonic()
    assert plant.read() == (values, stamp)  # nothing newer
    send(5, now - 1000.0 + 0.2, [5.0])  # sent when 0.2 s had passed, and it arrives much later
    time.sleep(0.5)
    values, delayed = plant.read()
    assert time.monotonic() - delayed > 0.2
    plant.write(np.array([0.5], np.float32))
    plant.close()
    kinds = []
    while len(kinds) < 7:
        kinds.append(packets.unpack(robot.recv(2000)).kind)
    robot.close()
    assert kinds[-6:] == [packets.COMMAND] + [packets.POWER_OFF] * 5


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A pendulum's policy with a slew limit."""
    config = TaskConfig("gymnasium", "InvertedPendulum-v5", slew_rate=6.0)
    task = make_task(config, 1, 0)
    task.close()
    run = make_run(make_policy(task.spec.input_size, 1))
    run = dataclasses.replace(run, spec=task.spec, config=dataclasses.replace(run.config, task=config))
    path = tmp_path_factory.mktemp("udp") / "policy.pt"
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), path)
    return path


def test_next_drive_and_silence_end_in_ramps(policy):
    robot = Robot(policy, 0, Faults(0.0, 0.0, 0.0, 0.0, 0.0), 0)
    step = float(robot.limits.ramp_step[0])

    def send(drive, number, value, now, kind=packets.COMMAND):
        robot.incoming.send(packets.pack(kind, number, now, [value], drive), now)
        robot._receive(now)
        return float(robot.command[0])

    for number in range(1, 60):
        reached = send(11, number, 1.0, 0.02 * number)
    assert reached == 1.0
    assert send(22, 1, -1.0, 1.3) == pytest.approx(1.0 - step), (
        "another drive: by a ramp step, though it counts anew"
    )
    assert send(11, 100, 1.0, 1.32) == pytest.approx(1.0 - step), "of the drive before: ignored"
    send(11, 101, 0.0, 1.33, packets.POWER_OFF)
    assert (robot.report.old, robot.report.powered_off) == (1, False)
    robot._watch(1.3 + SILENCE + 0.1)
    assert float(robot.command[0]) == pytest.approx(1.0 - 2 * step)
    assert send(22, 2, 1.0, 1.7) == pytest.approx(1.0 - step), "after silence: by a ramp step, too"
    assert robot.report.excess == 0.0
    robot.task.close()
    robot.socket.close()


def fly(policy, folder, robot_options, *options):
    """Drive the robot process; return the exit status, what acer-deploy said and what the robot got."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    robot = subprocess.Popen(
        [
            sys.executable,
            EXAMPLE / "robot.py",
            policy,
            "--port",
            str(port),
            "--seconds",
            "60",
            *robot_options,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert robot.stdout.readline() == "ready\n"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE), "ROBOT": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", "acer_robot.commands.deploy", f"policy={policy}", "plant=udp_plant:make"]
    command += [f"log={folder / 'log.csv'}", "safety.start_limit=30", "safety.late_ticks=0", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    got = json.loads(robot.communicate(timeout=90)[0].splitlines()[-1])
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), got


@pytest.mark.slow
def test_a_bad_network_gives_nothing_but_bounded_ramped_commands(policy, tmp_path):
    faults = ["--lost", "0.2", "--delayed", "0.3", "--delay", "0.1", "--repeated", "0.2", "--corrupt", "0.15"]
    status, summary, got = fly(policy, tmp_path, faults, "max_steps=60", "safety.age_limit=5")
    assert (status, summary["cause"]) == (0, "end")
    assert got["commands"] > 30
    assert got["refused"] > 0
    assert got["old"] > 0
    assert got["outside"] == 0
    assert got["excess"] <= 1e-5
    assert got["powered_off"]


@pytest.mark.slow
def test_a_robot_that_falls_silent_is_stopped(policy, tmp_path):
    options = ["safety.age_limit=0.5", "safety.hold=0.2"]
    status, summary, got = fly(policy, tmp_path, ["--silent-after", "40", "--lost", "0.1"], *options)
    assert (status, summary["cause"]) == (1, "age")
    assert why_stopped(tmp_path / "log.csv").startswith("age: the newest observation is 0.5")
    assert got["outside"] == 0
    assert got["excess"] <= 1e-5
    assert got["last"] == [0.0]
