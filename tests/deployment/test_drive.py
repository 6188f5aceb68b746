"""The loop around the safety layer: plants that fail, requests to stop, the log, and how it all closes."""

import csv
import dataclasses
import errno
import os
import signal
import threading
import time
from asyncio import CancelledError
from contextlib import suppress

import numpy as np
import pytest
import torch
from exported import make_policy, make_run
from plants import Clock, MemoryPlant

from acer_robot.deployment import drive_log
from acer_robot.deployment.drive import Driver, Timing
from acer_robot.deployment.drive_log import FIRST_LINE, DriveLog, check_new, why_stopped
from acer_robot.deployment.export import describe
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.limits import limits_of_file
from acer_robot.deployment.pacing import Pacer
from acer_robot.deployment.stop_requests import BrokenOff, StopRequests, counted_signals
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported, save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.spec import ActionBounds

BOUNDS = ActionBounds(("hip", "knee"), (-1.0, -2.0), (1.0, 3.0))
SHORT = Options(ramp_in=0.1, hold=0.05, start_limit=0.2)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy for two numbers and two joints, every 0.02 s."""
    run = make_run(make_policy(2, 2), BOUNDS)
    file = tmp_path_factory.mktemp("drive") / "policy.pt"
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), file)
    return load_exported(file)


class Flight:
    """A drive of a plant in memory, and what came of it."""

    def __init__(self, policy, plant=None, log=None, ticks=20, options=SHORT, at=None, spoil=None):
        self.plant = plant or MemoryPlant()
        self.limits = limits_of_file(policy.spec, policy.metadata, options)
        self.requests, clock = StopRequests(), self.plant.clock
        pacer = Pacer(policy.spec.control_dt, clock.now, self._sleep)
        self.at, self.sleeps = at or {}, 0
        log = DriveLog(None if log is None else str(log), policy.spec)
        if spoil is not None:
            spoil(log)
        self.driver = Driver(policy, self.plant, self.limits, log, self.requests, Timing(pacer, clock.now))
        self.ticks = ticks

    def _sleep(self, seconds):
        self.plant.clock.sleep(seconds)
        self.sleeps += 1
        for request in self.at.get(self.sleeps, ()):
            getattr(self.requests, request)()

    def fly(self):
        self.result = self.driver.drive(self.ticks)
        return self

    @property
    def commands(self):
        return np.array(self.plant.written, np.float64)

    def check(self):
        """Bounds, ramps at both ends, close last and once."""
        low, high = self.limits.low, self.limits.high
        assert (self.commands >= low).all()
        assert (self.commands <= high).all()
        assert self.plant.calls[0] == "connect"
        assert self.plant.calls.count("close") == 1
        assert self.plant.calls[-1] == "close"


def rows(path):
    with path.open() as file:
        assert file.readline().startswith("# stopped by:")
        return list(csv.DictReader(file))


def test_end_of_time_ramps_to_rest_and_closes(policy, tmp_path):
    flight = Flight(policy, log=tmp_path / "log.csv").fly()
    flight.check()
    assert flight.result.cause == "end"
    np.testing.assert_array_equal(flight.commands[-1], flight.limits.rest)
    ramp = np.abs(np.diff(flight.commands[19:], axis=0))
    assert (ramp <= flight.limits.ramp_step + 1e-6).all()
    assert why_stopped(tmp_path / "log.csv") == "end"


def test_first_command_is_near_what_the_robot_does(policy):
    flight = Flight(policy, MemoryPlant(measured=np.array([0.9, -1.9], np.float32))).fly()
    assert (np.abs(flight.commands[0] - [0.9, -1.9]) <= flight.limits.ramp_step + 1e-6).all()


def test_drive_begins_with_the_policys_filter_at_rest(tmp_path):
    run = make_run(make_policy(2, 2), BOUNDS, slew_rate=(1.0, 2.0))
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), tmp_path / "policy.pt")
    Flight(load_exported(tmp_path / "policy.pt"), log=tmp_path / "log.csv").fly()
    first = rows(tmp_path / "log.csv")[0]
    observation = torch.tensor([float(first[name]) for name in ("angle", "rest")])
    expected = load_exported(tmp_path / "policy.pt").act(observation)
    said = [float(first[f"policy:{joint}"]) for joint in BOUNDS.names]
    np.testing.assert_allclose(said, expected, atol=1e-6)


@pytest.mark.parametrize("request_", ["stop", "emergency_stop"])
def test_requests(policy, tmp_path, request_):
    flight = Flight(policy, log=tmp_path / "log.csv", ticks=1000, at={12: [request_]}).fly()
    flight.check()
    if request_ == "stop":
        assert flight.result.cause == "stop"
        np.testing.assert_array_equal(flight.commands[-1], flight.limits.rest)
    else:
        assert flight.result.cause == "emergency"
        assert len(flight.commands) == 11  # nothing is written after it
    assert why_stopped(tmp_path / "log.csv") == flight.result.cause


def test_second_stop_holds_the_command_of_that_tick(policy):
    flight = Flight(policy, ticks=1000, at={12: ["stop"], 15: ["stop"]}).fly()
    flight.check()
    assert flight.result.cause == "second_stop"
    np.testing.assert_array_equal(
        flight.commands[15:], np.tile(flight.commands[14], (len(flight.commands) - 15, 1))
    )
    assert 0.05 / 0.02 <= len(flight.commands) - 15 <= 5


def test_robot_that_stands_outside_its_bounds_is_refused(policy):
    plant = MemoryPlant(measured=np.array([0.0, 3.9], np.float32))
    with pytest.raises(InputError, match=r"joint 'knee' is at 3\.9, outside its bounds \[-2, 3\]"):
        Flight(policy, plant).fly()
    assert plant.calls == ["connect", "close"]


def test_robot_that_cannot_say_yet_what_it_does_starts_at_rest(policy):
    plant = MemoryPlant()
    plant.measured = lambda: None
    np.testing.assert_array_equal(Flight(policy, plant).fly().commands, Flight(policy).fly().commands)


def raising(message, kind=RuntimeError):
    def read():
        raise kind(message)

    return read


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (raising("bus off"), "the plant cannot be read: RuntimeError: bus off"),
        (raising("0", SystemExit), "the plant cannot be read: SystemExit: 0"),
        (raising("", KeyboardInterrupt), "the plant cannot be read: KeyboardInterrupt"),
        (raising("", CancelledError), "the plant cannot be read: CancelledError"),
        (lambda: "text", "read() returned 'text'"),
        (
            lambda: (np.zeros(2, np.float32), np.float32(5e4)),
            "float32 as the time, which has steps of 0.0039 s",
        ),
        (lambda: (np.zeros(3, np.float32), 50.0), "shape [3]; the policy takes [2]"),
        (lambda: (np.zeros(2), 50.0), "an array of float64 as the observation"),
        (lambda: (np.zeros(2, np.float32), "now"), "'now' as the time"),
        (lambda: (np.zeros(2, np.float32),), "a tuple; expected (observation, time.monotonic())"),
    ],
)
def test_a_plant_that_fails(policy, tmp_path, fault, reason):
    first = Flight(policy, MemoryPlant(faults={1: fault}))
    with pytest.raises(InputError) as caught:
        first.fly()
    assert reason in str(caught.value)
    assert first.plant.calls == ["connect", "close"]  # no command
    later = Flight(policy, MemoryPlant(faults={10: fault}), tmp_path / "log.csv").fly()
    later.check()
    assert later.result.cause == "error"
    assert reason in later.result.reason
    np.testing.assert_array_equal(later.commands[-1], later.limits.rest)
    assert why_stopped(tmp_path / "log.csv").startswith("error: the plant")


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (
            {"always": lambda: (np.zeros(2, np.float32), 12.5)},
            "the newest is 37.7 s old; read() must return time.monoton",
        ),
        ({"always": lambda: None}, "the plant gave no observation within 0.2 s"),
        ({"always": np.full(2, np.nan, np.float32)}, "NaN or infinite entries"),
    ],
)
def test_a_plant_without_usable_observations_is_refused(policy, faults, message):
    flight = Flight(policy, MemoryPlant(faults=faults))
    with pytest.raises(InputError) as caught:
        flight.fly()
    assert message in str(caught.value)
    assert flight.plant.calls == ["connect", "close"]


def test_lost_observations_hold_and_then_stop(policy):
    lost = dict.fromkeys(range(10, 100), "lost")
    flight = Flight(policy, MemoryPlant(faults=lost), ticks=1000).fly()
    flight.check()
    assert flight.result.cause == "age"
    np.testing.assert_array_equal(flight.commands[9:13], np.tile(flight.commands[8], (4, 1)))


@pytest.mark.parametrize(
    ("always", "options", "reason"),
    [
        ("lost", {}, "age: the newest observation is 0.1 s old"),
        (lambda: (np.zeros(2, np.float32), 1e9), {}, "s ahead; read() must return time.monotonic()"),
        (
            lambda: (np.zeros(2, np.float32), 40.0),
            {},
            "age: the observation is 10.2 s older than one before it",
        ),
        (np.full(2, np.inf, np.float32), {}, "nan: 5 observations in a row"),
        (np.zeros(2, np.float32), {"frozen_ticks": 3}, "frozen: 4 observations in a row were equal"),
        (np.full(2, 1e9, np.float32), {"far_ticks": 3}, "far: 3 observations in a row were beyond"),
    ],
)
def test_watchdog_says_why_it_stopped(policy, tmp_path, always, options, reason):
    faults = dict.fromkeys(range(10, 1000), always)
    options = dataclasses.replace(SHORT, **options)
    flight = Flight(policy, MemoryPlant(faults=faults), tmp_path / "log.csv", 900, options).fly()
    flight.check()
    assert reason in why_stopped(tmp_path / "log.csv")
    assert flight.result.reason in why_stopped(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("seconds", "reason"), [(0.3, "0.1 s, apart"), (0.03, "10 ticks in a row were late")]
)
def test_late_ticks_are_told(policy, seconds, reason):
    clock = Clock()
    plant = MemoryPlant(clock)
    write = plant.write

    def slow(command):
        write(command)
        clock.sleep(seconds * (len(plant.written) > 8))

    plant.write = slow
    flight = Flight(policy, plant, ticks=1000).fly()
    assert (flight.result.cause, reason in flight.result.reason) == ("late", True)


def test_log_in_a_pipe_gets_every_row(policy, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    plant = MemoryPlant(faults={18: raising("bus off")})
    commands = len(Flight(policy, plant, tmp_path / "pipe").fly().commands)
    text = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert text.count("\n") == 2 + commands
    assert text.endswith("\n")


def test_library_that_takes_the_signals_has_them_no_more(policy, python_handles_signals):
    plant = MemoryPlant()
    connect = plant.connect

    def taking():
        connect()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    plant.connect = taking
    plant.faults[8] = lambda: os.kill(os.getpid(), signal.SIGINT)
    flight = Flight(policy, plant, ticks=1000)
    with counted_signals(flight.requests):
        flight.fly()
    flight.check()
    assert flight.result.cause == "stop"


def test_a_plant_that_cannot_connect_is_closed(policy):
    plant = MemoryPlant()
    plant.connect = raising("no route")
    with pytest.raises(InputError, match="the plant cannot connect: RuntimeError: no route"):
        Flight(policy, plant).fly()
    assert plant.calls == ["close"]


def test_a_write_that_fails_closes_at_once(policy, tmp_path):
    plant = MemoryPlant()
    write = plant.write

    def broken(command):
        if len(plant.written) == 9:
            raise OSError(errno.EPIPE, "Broken pipe")
        write(command)

    plant.write = broken
    flight = Flight(policy, plant, tmp_path / "log.csv").fly()
    assert (flight.result.cause, len(plant.written), plant.calls[-1]) == ("error", 9, "close")
    assert "cannot be commanded" in why_stopped(tmp_path / "log.csv")


def test_age_in_the_log_is_never_negative(policy, tmp_path):
    clock = Clock()
    plant = MemoryPlant(clock, faults={8: lambda: setattr(clock, "time", clock.time - 1.0)})
    flight = Flight(policy, plant, tmp_path / "log.csv").fly()
    assert flight.result.cause == "clock"
    assert [float(row["age"]) for row in rows(tmp_path / "log.csv")[6:9]] == [0.0, 0.0, 0.0]


def test_log_tells_every_tick(policy, tmp_path):
    flight = Flight(policy, MemoryPlant(faults={8: "lost"}), tmp_path / "log.csv").fly()
    table = rows(tmp_path / "log.csv")
    assert len(table) == flight.result.commands
    assert {row["state"] for row in table} == {"ramp_in", "running", "holding", "ramp_out", "stopped"}
    got = np.array([[float(row[f"command:{joint}"]) for joint in ("hip", "knee")] for row in table])
    np.testing.assert_array_equal(got.astype(np.float32), np.array(flight.plant.written))
    assert table[7]["policy:hip"] == ""  # the policy was not asked
    assert table[6]["policy:hip"] != ""
    assert [row["cause"] for row in table][-1] == "end"


def test_log_is_readable_while_the_drive_goes_on(policy, tmp_path):
    path, seen = tmp_path / "log.csv", []
    plant = MemoryPlant()
    plant.faults = {60: lambda: (seen.append(rows(path)), plant.last)[1]}
    Flight(policy, plant, path, ticks=80).fly()
    assert float(seen[0][-1]["time"]) > 59 * 0.02 - 1.0  # at most one second is missing
    assert why_stopped(path) == "end"


def test_an_unwritable_log_is_refused_before_the_start(policy, tmp_path):
    with pytest.raises(InputError, match=r"log=.*cannot be written: Is a directory"):
        DriveLog(str(tmp_path), policy.spec)
    with pytest.raises(InputError, match="No space left on device"):
        DriveLog("/dev/full", policy.spec)


def test_log_of_a_former_drive_is_not_overwritten(policy, tmp_path):
    Flight(policy, log=tmp_path / "log.csv").fly()
    before = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "link.csv").symlink_to(tmp_path / "log.csv")
    for name in ("log.csv", "link.csv"):
        with pytest.raises(InputError, match=rf"log=.*{name} exists; give another file, or remove it"):
            DriveLog(str(tmp_path / name), policy.spec)
    assert (tmp_path / "log.csv").read_bytes() == before


def test_plant_that_cannot_connect_leaves_no_log(policy, tmp_path):
    plant = MemoryPlant()
    plant.connect = lambda: 1 / 0
    with pytest.raises(InputError, match="the plant cannot connect"):
        Flight(policy, plant, log=tmp_path / "log.csv").fly()
    assert list(tmp_path.iterdir()) == []


def test_log_with_rows_stays_where_nothing_was_commanded(policy, tmp_path):
    plant = MemoryPlant(faults={"always": "lost"})
    plant.last = (np.full(2, np.nan, np.float32), plant.clock.now())
    with pytest.raises(InputError):
        Flight(policy, plant, log=tmp_path / "log.csv").fly()
    assert len(rows(tmp_path / "log.csv")) > 0


@pytest.mark.parametrize("name", ["x" * 300, "a/missing/folder"])
def test_name_that_cannot_be_a_log_is_one_line(policy, tmp_path, name):
    check_new(str(tmp_path / name))
    with pytest.raises(InputError, match="cannot be written"):
        DriveLog(str(tmp_path / name), policy.spec)


def test_log_that_could_not_be_begun_leaves_no_file(policy, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InputError, match="No space left on device"):
        DriveLog(str(tmp_path / "log.csv"), policy.spec)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_the_drive_and_the_log_says_so(policy, tmp_path, monkeypatch):
    path, written = tmp_path / "log.csv", []
    real = os.write

    def full_after_two(file, data):
        written.append(data)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(drive_log.os, "write", full_after_two)
    flight = Flight(policy, log=path, ticks=1000).fly()
    flight.check()
    assert flight.result.cause == "error"
    np.testing.assert_array_equal(flight.commands[-1], flight.limits.rest)
    assert why_stopped(path) == "error: the log cannot be written: No space left on device"


def test_the_first_line_never_changes_its_length(policy, tmp_path):
    path = tmp_path / "log.csv"
    log = DriveLog(str(path), policy.spec)
    before = path.read_bytes()
    log.finish("error: ü\n" + "x" * 500)
    after = path.read_bytes()
    assert (after[FIRST_LINE:], len(after)) == (before[FIRST_LINE:], len(before))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP])
def test_signals_are_counted(number, python_handles_signals):
    requests, before = StopRequests(), signal.getsignal(number)
    with counted_signals(requests):
        os.kill(os.getpid(), number)
        assert (requests.stops, requests.emergency, requests.signal) == (1, False, number)
        os.kill(os.getpid(), number)
        assert requests.stops == 2
    assert signal.getsignal(number) is before


def test_sigquit_is_an_emergency(python_handles_signals):
    requests = StopRequests()
    with counted_signals(requests):
        os.kill(os.getpid(), signal.SIGQUIT)
    assert (requests.stops, requests.emergency) == (0, True)


@pytest.mark.parametrize("blocks", ["connect", "read"])
def test_second_sigquit_breaks_off_a_blocked_call(blocks, policy, tmp_path, python_handles_signals):
    plant = MemoryPlant()

    def block():
        for seconds in (0.2, 0.4):
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGQUIT)).start()
        time.sleep(30.0)

    if blocks == "connect":
        plant.connect = block
    else:
        plant.faults[8] = block
    flight, start = Flight(policy, plant, log=tmp_path / "log.csv", ticks=1000), time.monotonic()
    with counted_signals(flight.requests), pytest.raises(BrokenOff) as broken:
        flight.fly()
    assert time.monotonic() - start < 20.0
    assert broken.value.status == 128 + signal.SIGQUIT
    assert plant.calls[-1] == "close"
    assert why_stopped(tmp_path / "log.csv") == "emergency: SIGQUIT broke off a call of the plant"


@pytest.mark.parametrize(("at", "cause"), [({12: ["emergency_stop"]}, "emergency"), ({}, "end")])
def test_second_sigquit_does_not_break_off_closing(at, cause, policy, python_handles_signals):
    plant, closed = MemoryPlant(), []

    def close():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGQUIT)
        closed.append(1)

    plant.close = close
    flight = Flight(policy, plant, at=at)
    with counted_signals(flight.requests), suppress(BrokenOff):  # uncaught it would end the test run
        assert flight.fly().result.cause == cause
    assert closed == [1]


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
def test_the_terminal_does_not_stop_a_drive(number, python_handles_signals):
    with counted_signals(StopRequests()):
        assert signal.getsignal(number) is signal.SIG_IGN
    assert signal.getsignal(number) is signal.SIG_DFL


def test_keys():
    pressed = iter("xQe")
    requests = StopRequests()
    requests.key = lambda: next(pressed)
    seen = []
    for _ in range(3):
        requests.read_key()
        seen.append((requests.stops, requests.emergency))
    assert seen == [(0, False), (1, False), (1, True)]


def test_a_policy_that_fails_ramps_to_rest(policy):
    calls = []

    def act(observations):
        calls.append(1)
        if len(calls) > 60:
            raise RuntimeError("out of memory")
        return policy.act(observations)

    broken = dataclasses.replace(policy)
    object.__setattr__(broken, "act", act)
    flight = Flight(broken, ticks=1000).fly()
    flight.check()
    assert (flight.result.cause, flight.result.reason) == (
        "error",
        "the policy failed: RuntimeError: out of memory",
    )


def test_running_commands_are_the_files(policy):
    flight = Flight(policy).fly()
    policy.reset()
    observation = torch.from_numpy(np.sin(np.arange(2) + 15).astype(np.float32))
    np.testing.assert_allclose(flight.commands[14], policy.act(observation).numpy(), atol=1e-6)


def test_the_clock_of_the_tests_passes_in_sleep_alone():
    clock = Clock()
    clock.sleep(0.5)
    assert clock.now() == 50.5
