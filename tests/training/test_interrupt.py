"""Ctrl-C, SIGTERM and SIGHUP while training: kept until the step is done, then never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from acer_robot.interrupt import Interrupted, Signalled, deferred_interrupt, end_on_signals, exit_status

pytestmark = pytest.mark.usefixtures("python_handles_signals")


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_waits_for_the_check_and_is_told(capfd):
    with deferred_interrupt() as check:
        check()
        press()
        assert "stopping after this step" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_does_not_wait():
    with deferred_interrupt() as check:
        press()
        with pytest.raises(KeyboardInterrupt) as second:
            press()
        assert not isinstance(second.value, Interrupted)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_one_after_the_last_check_is_not_lost():
    block = deferred_interrupt()
    check = block.__enter__()
    check()
    press()
    with pytest.raises(KeyboardInterrupt):
        block.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_is_raised_and_ctrl_c_is_as_before():
    with pytest.raises(ZeroDivisionError), deferred_interrupt():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_somebody_elses_handler_is_left_alone(handler):
    signal.signal(signal.SIGINT, handler)
    with deferred_interrupt() as check:
        assert signal.getsignal(signal.SIGINT) is handler
        press()
        check()
    assert signal.getsignal(signal.SIGINT) is handler


def test_another_thread_than_the_main_one_works_without():
    errors = []

    def work():
        try:
            with deferred_interrupt() as check:
                check()
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_other_signals_wait_for_the_check_as_ctrl_c_does(number, status):
    with deferred_interrupt() as check:
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as raised:
            check()
    assert exit_status(raised.value) == status
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_an_echo_of_the_first_changes_nothing():
    with deferred_interrupt() as check:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            press()
        with pytest.raises(Interrupted, match="SIGTERM"):
            check()


@pytest.mark.parametrize(
    "body",
    [
        "    with interrupt.deferred_interrupt() as check:\n        send()\n        again()\n",
        "    try:\n        with interrupt.deferred_interrupt() as check:\n            send(); check()\n"
        "    except KeyboardInterrupt: again()\n",
        "    try: send()\n    except KeyboardInterrupt: again()\n",
    ],
    ids=["in a step", "while the end is saved", "outside of a step"],
)
def test_second_signal_ends_the_process_at_once(body):
    code = (
        "import os, time; from acer_robot import interrupt\n"
        f"def send(number={int(signal.SIGTERM)}): os.kill(os.getpid(), number); time.sleep(0.01)\n"
        f"def again(): time.sleep(2 * interrupt.ECHO_SECONDS); send({int(signal.SIGUSR1)})\n"
        f"with interrupt.end_on_signals():\n{body}    print('it went on', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 128 + signal.SIGUSR1
    assert "the process ends at once" in ended.stderr
    assert not ended.stdout


def test_outside_of_a_step_sigterm_stops_at_once_and_only_once():
    with end_on_signals():
        with pytest.raises(Signalled, match="SIGTERM") as raised:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
    assert not isinstance(raised.value, Interrupted)
    assert exit_status(raised.value) == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_after_a_deferred_signal_the_end_is_not_disturbed():
    with end_on_signals():
        with deferred_interrupt() as check:
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Interrupted, match="SIGHUP"):
                check()
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_step_that_does_not_end_is_left(number):
    code = (
        "import os, sys, time; from acer_robot import interrupt\n"
        "interrupt.GRACE_SECONDS = 0.2\n"
        "with interrupt.deferred_interrupt():\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    time.sleep(60)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 128 + number
    assert "the last checkpoint counts" in ended.stderr


def test_step_that_ends_is_not_left(monkeypatch):
    monkeypatch.setattr("acer_robot.interrupt.GRACE_SECONDS", 0.05)
    with deferred_interrupt() as check:
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(Interrupted):
            check()
        time.sleep(0.2)
