"""Ctrl-C while training: kept until the step is done, then never lost."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from acer_robot.interrupt import deferred_interrupt


@pytest.fixture(autouse=True)
def python_handles_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
        with pytest.raises(KeyboardInterrupt):
            press()
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
