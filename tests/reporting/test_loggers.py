"""What a run tells while it learns; wandb can neither stop nor hang it, and nothing private leaves."""

import contextlib
import csv
import importlib.util
import math
import os
import pty
import re
import socket
import subprocess
import sys
import termios
import threading
import time
from types import SimpleNamespace

import pytest
from wandb_server import Server

from acer_robot.errors import InputError
from acer_robot.reporting import wandb_settings
from acer_robot.reporting.progress import Progress
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.reporting.tensorboard import check_tensorboard
from acer_robot.reporting.wandb_settings import wandb_mode
from acer_robot.run_folder.layout import write_environment
from acer_robot.schema import WandbConfig

KEY = "5ecret0123456789abcdef0123456789abcdef01"
PASSWORD = "correct-horse-battery-staple"

RUN = """
import sys
from pathlib import Path
from acer_robot.reporting import wandb as wandb_run, wandb_settings
from acer_robot.schema import WandbConfig
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.layout import write_environment

wandb_settings.REACH_SECONDS, wandb_run.FINISH_SECONDS = 1.0, 2.0
run_dir = Path(sys.argv[1])
with RunLogger(run_dir, WandbConfig(mode=sys.argv[2]), {"learner": {"lr": 0.25}}, 20) as log:
    for step in (10, 20):
        log.log_metrics(step, {"loss/q": step / 4})
    log.log_evaluation(20, {"seconds": 1.0, "eval/return_mean": 1234.5})
    print("logged", flush=True)
    ending = sys.stdin.readline().strip()
    if ending:
        raise {"interrupt": KeyboardInterrupt, "error": ZeroDivisionError}[ending]
    log.close([write_environment(run_dir)])
"""


@pytest.fixture
def server():
    running = Server()
    yield running
    running.stop()


def disabled(tmp_path, total=100):
    return RunLogger(tmp_path, WandbConfig(mode="disabled"), {}, total)


def test_resumed_run_keeps_its_wandb_id(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    ids, resumed = [], None
    for step in (1, 2):
        with RunLogger(tmp_path, WandbConfig(mode="offline"), {"steps": step}, 10, resumed) as log:
            log.log_metrics(step, {"loss/q": 1.0})
            ids.append(log.state()["wandb"])
        resumed = (step, log.state())
    assert ids[0]
    assert ids[0] == ids[1]
    assert len(list(tmp_path.glob(f"wandb/offline-run-*-{ids[0]}*"))) == 2
    with RunLogger(tmp_path, WandbConfig(mode="disabled"), {}, 10, resumed) as log:
        assert log.state() == resumed[1], "a part without wandb does not lose it"


def start_run(tmp_path, mode, url, key=KEY):
    """Start RUN in a process of its own; wandb keeps its settings for the life of a process."""
    home, run_dir = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    run_dir.mkdir()
    environment = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    environment |= {"HOME": str(home), "WANDB_BASE_URL": url, "ROBOT_PASSWORD": PASSWORD}
    if key:
        environment["WANDB_API_KEY"] = key
    command = [sys.executable, "-c", RUN, str(run_dir), mode]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return run_dir, subprocess.Popen(command, env=environment, cwd=home, text=True, **pipes)


def finish(process):
    """Let RUN close its logger; return what it printed."""
    output, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0, output
    return output


def everything_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_are_on_disk_before_the_run_ends(tmp_path):
    log = disabled(tmp_path)
    log.log_metrics(10, {"loss/q": 0.1, "rollout/ep_return": float("nan")})
    log.log_metrics(20, {"rollout/ep_return": -3})
    log.log_evaluation(20, {"seconds": 2.5, "eval/return_mean": 7})
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["step", "loss/q", "rollout/ep_return"],
            ["10", "0.1", "nan"],
            ["20", "", "-3.0"],
        ]
    with (tmp_path / "eval.csv").open() as file:
        assert list(csv.reader(file)) == [["step", "seconds", "eval/return_mean"], ["20", "2.5", "7.0"]]
    log.close()


def test_a_column_that_turns_up_late_is_an_error(tmp_path):
    with disabled(tmp_path) as log:
        log.log_metrics(10, {"loss/q": 0.1})
        with pytest.raises(ValueError, match=r"metrics\.csv has no column loss/v"):
            log.log_metrics(20, {"loss/q": 0.1, "loss/v": 0.2})


def test_closing_twice_is_harmless(tmp_path):
    with disabled(tmp_path) as log:
        log.log_metrics(10, {"loss/q": 0.1})
        log.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,loss/q", "10,0.1"]


def lines_of(capsys, monkeypatch, seconds, total=10_000, step_size=1, learning=True):
    """Return what a run of so many steps, each of so many seconds, prints where there is no terminal."""
    clock = iter(range(10**9))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * seconds)
    progress = Progress(total)
    for step in range(step_size, total + step_size, step_size):
        progress.update(step, "best 12", learning)
    progress.close()
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


@pytest.mark.parametrize(("seconds", "lines"), [(0.0001, 1), (0.01, 3), (0.1, 18)])
def test_without_a_terminal_a_run_prints_a_line_a_minute(capsys, monkeypatch, seconds, lines):
    printed = lines_of(capsys, monkeypatch, seconds)
    assert len(printed) == lines  # the first after 2 s
    assert printed[-1] == f"step 10,000 of 10,000, {1 / seconds:,.0f} steps/s, 00:00 left, best 12"
    if lines > 1:
        assert printed[0].startswith(f"step {2 / seconds:,.0f} of 10,000")


def test_no_negative_time_is_left(capsys, monkeypatch):
    printed = lines_of(capsys, monkeypatch, 1.0, total=100, step_size=28)
    assert printed[-1] == "step 112 of 112, 28 steps/s, 00:00 left, best 12"


def test_time_left_is_unknown_before_the_first_update(capsys, monkeypatch):
    printed = lines_of(capsys, monkeypatch, 1.0, learning=False)
    assert "steps/s, time left not known yet, best 12" in printed[0]


def test_bar_shows_last_and_best_evaluation(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Progress, "update", lambda self, step, text, learning: shown.append(text))
    with RunLogger(tmp_path, WandbConfig(mode="disabled"), {"eval_every": 2000}, 10_000) as log:
        log.progress(1000)
        for step, value in ((2000, 4149.2), (4000, 0.5)):
            log.log_evaluation(step, {"eval/return_mean": value})
            log.progress(step)
    assert shown == [
        "first evaluation at step 2,000",
        "last evaluation 4,149, best 4,149",
        "last evaluation 0.5, best 4,149",
    ]


def test_health_is_warned_of_once(tmp_path, capsys):
    config = {"learner": {"std_min": 0.3, "std_min_final": 0.1}}
    with RunLogger(tmp_path, WandbConfig(mode="disabled"), config, 10**6) as log:
        for step in range(1, 131):
            std = 0.1 if step > 50 else 0.5
            row = {"acer/std": std, "acer/temperature": 3.0, "acer/trust_region_active": 0.0}
            log.log_metrics(step, row)
    printed = [line.partition(" Healthy: ") for line in capsys.readouterr().out.splitlines()]
    assert [line for line, _, _ in printed] == [
        "warning: acer/temperature is 3 at step 10, above 1.",
        "warning: acer/std is 0.1 at step 53, below 0.101.",
        "warning: acer/trust_region_active is 0 in every row.",
    ]
    assert all(hint for _, _, hint in printed)


def test_resumed_run_shows_its_evaluations(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Progress, "update", lambda self, step, text, learning: shown.append(text))
    (tmp_path / "eval.csv").write_text("step,eval/return_mean\n1000,700.0\n2000,600.0\n")
    with RunLogger(tmp_path, WandbConfig(mode="disabled"), {}, 3000, (2000, {"wandb": None})) as log:
        log.progress(2500)
    assert shown == ["last evaluation 600, best 700"]


@pytest.mark.extras
@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed"
)
def test_tensorboard_has_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLogger(tmp_path, WandbConfig(mode="disabled"), {"tensorboard": True}, 20) as log:
        log.log_metrics(10, {"loss/q": 0.5, "rollout/ep_return": math.nan})
        log.log_evaluation(20, {"eval/return_mean": 3.0})
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {"loss/q", "eval/return_mean"}
    assert [(event.step, event.value) for event in board.Scalars("eval/return_mean")] == [(20, 3.0)]


def test_absent_tensorboard_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'acer-robot\[tensorboard\]'"):
        check_tensorboard()


@pytest.mark.parametrize("size", [(0, 0), (0, 100)])
def test_terminal_without_a_size_gets_plain_lines(monkeypatch, capsys, size):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, size)
    monkeypatch.setattr(sys, "stderr", os.fdopen(slave, "w"))
    progress = Progress(10)
    progress.update(10, "all")
    progress.close()
    os.close(master)
    assert "step 10 of 10" in capsys.readouterr().out


def test_bar_on_a_terminal_keeps_evaluation_lines(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from acer_robot.reporting.run_logger import RunLogger\n"
        "from acer_robot.schema import WandbConfig\n"
        "log = RunLogger(Path(sys.argv[1]), WandbConfig(mode='disabled'), {}, 40)\n"
        "for step in range(1, 41):\n"
        "    log.progress(step); time.sleep(0.05)\n"
        "    if step == 20: log.log_evaluation(step, {'eval/return_mean': 1234.5})\n"
        "log.close()\n"
    )
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=slave, stderr=slave)
    os.close(slave)
    output = b""
    while chunk := _read(master):
        output += chunk
    assert process.wait(30) == 0
    rows = output.decode().replace("\r\n", "\n").split("\n")
    assert any(row.endswith("\revaluation at step 20: return_mean 1234.5") for row in rows)
    last = rows[-2].split("\r")[-1] if rows[-1] == "" else rows[-1].split("\r")[-1]
    assert "40/40" in last
    assert "step/s" in last
    assert "last evaluation 1,234" in last


def _read(master):
    try:
        return os.read(master, 65536)
    except OSError:  # Linux: the other end is closed
        return b""


def test_environment_names_versions_processor_and_revision(tmp_path):
    lines = dict(line.split(": ", 1) for line in write_environment(tmp_path).read_text().splitlines())
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    for name in ("torch", "mujoco", "gymnasium", "dm-control", "cpu", "git revision"):
        assert lines[name] not in ("", "not installed")


@pytest.mark.parametrize(
    ("mode", "key", "netrc", "expected"),
    [
        ("auto", None, None, "offline"),
        ("auto", KEY, None, "online"),
        ("auto", None, f"machine wandb.example login user password {KEY}", "online"),
        ("auto", None, f"machine another.example login user password {KEY}", "offline"),
        ("auto", None, "this is not a netrc file", "offline"),
        ("online", KEY, None, "online"),
        ("offline", KEY, None, "offline"),
        ("disabled", KEY, None, "disabled"),
    ],
)
def test_the_mode_follows_the_key(tmp_path, wandb_environment, mode, key, netrc, expected):
    wandb_environment(key=key)
    if netrc:
        (tmp_path / "netrc").write_text(netrc)
    assert wandb_mode(WandbConfig(mode=mode)) == expected


@pytest.fixture
def wandb_environment(tmp_path, monkeypatch):
    """Set the variables of wandb, with a key and no others; give wandb's own settings as they would be."""

    def put(kept="online", key=KEY, **variables):
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name, value in (variables | ({"WANDB_API_KEY": key} if key else {})).items():
            monkeypatch.setenv(name, value)
        settings = SimpleNamespace(mode=kept, base_url="https://me:secret@wandb.example")
        monkeypatch.setattr(wandb_settings, "_settings", lambda *_: settings)

    return put


@pytest.mark.parametrize(
    ("mode", "variables", "expected"),
    [
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "dryrun"}, "offline"),
        ("auto", {"WANDB_MODE": "run"}, "online"),
        ("auto", {"WANDB_DISABLED": "true", "WANDB_MODE": "online"}, "disabled"),
        ("auto", {"WANDB_DISABLED": "false"}, "online"),
        ("auto", {"kept": "offline"}, "offline"),
        ("auto", {"kept": "disabled"}, "disabled"),
        ("auto", {"kept": "offline", "WANDB_MODE": "online"}, "online"),
        ("offline", {"WANDB_MODE": "disabled"}, "offline"),
        ("online", {"kept": "offline"}, "online"),
        ("disabled", {"WANDB_MODE": "nonsense"}, "disabled"),
        ("online", {"WANDB_MODE": "disabled"}, "online"),
        ("online", {"WANDB_DISABLED": "1"}, "online"),
        ("auto", {"WANDB_MODE": "nonsense"}, "disabled"),
        ("auto", {"WANDB_MODE": "online", "key": None}, "offline"),
        ("auto", {"WANDB_API_KEY": "two words", "key": None}, "offline"),
        ("auto", {"WANDB_API_KEY": "two\nlines", "key": None}, "offline"),
    ],
)
def test_the_switches_of_wandb_are_obeyed(wandb_environment, mode, variables, expected):
    wandb_environment(**variables)
    assert wandb_mode(WandbConfig(mode=mode)) == expected


@pytest.mark.parametrize(
    ("mode", "variables", "message"),
    [
        ("online", {"key": None}, r"no API key is configured for https://wandb\.example"),
        ("on", {}, "auto, online, offline, disabled"),
        ("online", {"WANDB_API_KEY": "two words", "key": None}, "WANDB_API_KEY has a blank"),
        ("online", {"WANDB_API_KEY": "two\nlines", "key": None}, "WANDB_API_KEY has a blank"),
    ],
)
def test_modes_and_keys_that_cannot_be_used_are_refused(wandb_environment, mode, variables, message):
    wandb_environment(**variables)
    with pytest.raises(InputError, match=message):
        wandb_mode(WandbConfig(mode=mode))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WANDB_BASE_URL", "http://me:secret@wandb.ai"),
        ("WANDB_BASE_URL", "http://me:secret@127.0.0.1:99999"),
        ("WANDB_BASE_URL", "not a url"),
        ("WANDB_RUN_ID", "a/b c"),
    ],
)
def test_settings_that_wandb_refuses_show_no_password(tmp_path, name, value):
    code = (
        "from acer_robot.reporting.wandb_settings import *\n"
        "print(*mode_and_reason(WandbConfig()))\n"
        "try: wandb_mode(WandbConfig(mode='offline'))\nexcept InputError as error: print(error)"
    )
    environment = {key: kept for key, kept in os.environ.items() if "WANDB" not in key}
    environment |= {"HOME": str(tmp_path), name: value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    of_auto, of_offline = done.stdout.splitlines()
    assert of_auto.startswith("disabled wandb cannot use its settings: "), "it does not stop a run"
    assert of_offline.startswith("wandb cannot use its settings: ")
    assert "secret" not in done.stdout + done.stderr


def test_a_project_name_that_wandb_refuses_is_an_input_error():
    with pytest.raises(InputError, match="Invalid project name 'a/b'"):
        wandb_mode(WandbConfig(mode="offline", project="a/b"))


@pytest.mark.parametrize(("pause", "reason"), [(0.0, "garbage"), (0.7, "too slowly")])
def test_servers_of_garbage_and_slow_ones_count_as_unreachable(monkeypatch, pause, reason):
    monkeypatch.setattr(wandb_settings, "REACH_SECONDS", 1.0)

    def answer(listening):
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for _ in range(4):
                connection.sendall(b"garbage" if not pause else b"H")
                time.sleep(pause)
            connection.sendall(b"\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert reason in wandb_settings.why_unreachable(url)


def test_a_server_that_refuses_turns_the_run_offline(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    run_dir, process = start_run(tmp_path, "auto", url)
    output = finish(process)
    assert f"wandb: offline ({url} cannot be reached: " in output
    assert len(list(run_dir.glob("wandb/offline-run-*/*.wandb"))) == 1
    assert not any(KEY.encode() in content for content in everything_below(tmp_path).values())


def test_silent_server_delays_the_start_briefly(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        _, process = start_run(tmp_path, "online", url)
        output = finish(process)
        assert time.monotonic() - started < 30
    assert "timed out" in output


def test_a_key_that_wandb_rejects_turns_the_run_offline(tmp_path, server):
    _, process = start_run(tmp_path, "auto", server.url, key="short")
    assert "did not accept the run" in finish(process)


def test_nothing_private_reaches_the_server(tmp_path, server):
    run_dir, process = start_run(tmp_path, "auto", server.url)
    output = finish(process)
    assert f"wandb: {server.url}/me/x/runs/" in output
    sent = b"\n".join(body for _, body in server.bodies)
    assert rb"\"step\":20" in sent
    assert rb"\"eval/return_mean\":1234.5" in sent
    assert b"0.25" in sent  # the config
    assert (run_dir / "environment.txt").read_bytes() in sent
    for private in (KEY, PASSWORD, f'"{socket.gethostname()}"', str(tmp_path), "def ", "import "):
        assert private.encode() not in sent, private
    for path, content in everything_below(tmp_path).items():
        assert KEY.encode() not in content, path
        assert PASSWORD.encode() not in content, path


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("error", 1), ("interrupt", 130)])
def test_wandb_is_told_how_the_run_ended(tmp_path, server, ending, code):
    _, process = start_run(tmp_path, "auto", server.url)
    process.communicate(f"{ending}\n", timeout=60)
    sent = b"\n".join(body for _, body in server.bodies)
    assert re.findall(rb'"exitcode":(\d+)', sent) == [b"%d" % code]


def test_offline_sends_and_keeps_nothing_private(tmp_path, server):
    run_dir, process = start_run(tmp_path, "offline", server.url)
    finish(process)
    assert server.bodies == []
    (kept,) = (path.read_bytes() for path in run_dir.glob("wandb/*/*.wandb"))
    assert b"eval/return_mean" in kept
    for private in (KEY, PASSWORD):
        assert private.encode() not in kept, private
    # A short host name turns up by chance in the random names of the file: look for it as a whole field, which
    # Protocol Buffers write behind its length, and as a string of JSON.
    host = socket.gethostname().encode()
    for field in (bytes([len(host)]) + host, b'"%s"' % host):
        assert field not in kept, field


def test_server_that_dies_in_mid_run_costs_little(tmp_path, server):
    run_dir, process = start_run(tmp_path, "auto", server.url)
    while process.stdout.readline() not in ("logged\n", ""):
        pass
    server.silent.set()
    started = time.monotonic()
    output = finish(process)
    assert time.monotonic() - started < 20
    assert "&& wandb sync wandb/run-" in output
    assert len(list(run_dir.glob("wandb/run-*/*.wandb"))) == 1
