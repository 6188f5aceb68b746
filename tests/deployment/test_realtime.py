"""What a drive asks of the operating system, and sleep until a deadline."""

import gc
import os
import signal
import threading
import time

import pytest

from acer_robot.deployment import realtime
from acer_robot.deployment.realtime import RealTimeOptions, check_realtime, real_time, sleep_until
from acer_robot.errors import InputError


def test_sleep_reaches_its_deadline():
    deadline = time.monotonic() + 0.05
    sleep_until(deadline)
    assert time.monotonic() >= deadline
    sleep_until(deadline - 1.0)  # it has passed


def test_a_signal_does_not_end_the_sleep_early():
    seen, before = [], signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        deadline = time.monotonic() + 0.3
        sleep_until(deadline)
        assert time.monotonic() >= deadline
        assert seen == [1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_not_permitted_is_said_in_one_line_each(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    class Libc:
        def mlockall(self, _flags):
            return -1

        def munlockall(self):
            return 0

    monkeypatch.setattr(realtime.os, "sched_setscheduler", refuse)
    monkeypatch.setattr(realtime, "_libc", Libc())
    monkeypatch.setattr(realtime, "_restore", lambda *_: None)
    with real_time(RealTimeOptions(priority=50, lock_memory=True)) as refused:
        assert len(refused) == 2
        assert "SCHED_FIFO with priority 50 is not permitted: Operation not permitted" in refused
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_core_is_taken_and_given_back():
    before = os.sched_getaffinity(0)
    core = min(before)
    with real_time(RealTimeOptions(core=core)) as refused:
        assert (refused, os.sched_getaffinity(0)) == ([], {core})
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 100}, "realtime.priority=100; expected 1 to 99"),
        ({"core": 4096}, "realtime.core=4096; this process"),
    ],
)
def test_options_that_no_machine_has(options, message):
    with pytest.raises(InputError, match=message):
        check_realtime(RealTimeOptions(**options))
