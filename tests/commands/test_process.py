"""The process of a command: closed standard streams, signals and full disks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from acer_robot.commands.process import command_process
from acer_robot.run_folder import checkpoints
from acer_robot.schema import TrainConfig


def test_closed_streams_lead_nowhere(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with command_process():
        streams = [sys.stdin, sys.stdout, sys.stderr]
        assert not any(stream.isatty() for stream in streams)
        print("said", flush=True)
        print("said", file=sys.stderr, flush=True)
    for stream in streams:
        stream.close()


def test_the_stop_key_works_without_stdin():
    code = (
        "from acer_robot.commands.process import command_process\n"
        "from acer_robot.deployment.pacing import stop_key\n"
        "with command_process():\n    with stop_key() as stop: assert not stop()"
    )
    close = lambda: os.close(0)  # noqa: E731
    subprocess.run([sys.executable, "-c", code], preexec_fn=close, check=True)


def test_an_interrupt_is_one_line(capsys):
    with pytest.raises(SystemExit) as stopped, command_process():
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_sigterm_is_one_line(capsys):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as stopped, command_process():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.value.code == 143
    assert capsys.readouterr().err == "interrupted\n"


def test_full_disk_is_one_line_and_frees_what_was_cut_off(tmp_path, monkeypatch, capsys):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    spec = type("Spec", (), {"to_dict": lambda _: {}})()
    with pytest.raises(SystemExit) as stopped, command_process():
        checkpoints.save_checkpoint(tmp_path, {}, TrainConfig(), spec, 1, "latest")
    path = tmp_path / "checkpoints" / "latest.pt"
    assert stopped.value.code == 1
    assert (
        capsys.readouterr().err
        == f"acer-robot: error: the disk is full: {path} cannot be written; make room\n"
    )
    assert list(path.parent.iterdir()) == []


def test_other_errors_of_files_are_not_hidden():
    with pytest.raises(PermissionError), command_process():
        raise PermissionError(errno.EACCES, "not allowed")
