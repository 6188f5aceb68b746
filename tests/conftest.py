"""Settings and fixtures that all tests share."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# No deadline: the machine may be busy. Derandomised: a failure on one machine is a failure on every other.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(config, items):
    """Skip what needs an extra or takes minutes, unless it is asked for: `make test-extras`."""
    if "extras" not in (config.getoption("-m") or ""):
        for item in items:
            if item.get_closest_marker("extras"):
                item.add_marker(
                    pytest.mark.skip(reason="needs an extra or takes minutes: make test-extras runs it")
                )


@pytest.fixture
def checks_in_this_process(monkeypatch):
    """Check an exported policy.pt here, and not in a process of its own, which takes a second to start."""
    from acer_robot.deployment import verify_policy

    real, script = subprocess.run, str(Path(verify_policy.__file__).resolve())

    def run(command, **options):
        if script not in command:
            return real(command, **options)
        file, _, rows = command[command.index(script) + 1 :]
        report = verify_policy.verify_torchscript(Path(file), int(rows))
        return subprocess.CompletedProcess(command, int("failed" in report), json.dumps(report), "")

    monkeypatch.setattr("acer_robot.deployment.export.subprocess.run", run)
    threads = torch.get_num_threads()  # the checks take one
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def python_handles_signals():
    """Give signals the handlers that a fresh Python has, whatever a test runner or a shell has set."""
    default = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGUSR1: signal.SIG_DFL,
        signal.SIGUSR2: signal.SIG_DFL,
        signal.SIGQUIT: signal.SIG_DFL,
        signal.SIGTSTP: signal.SIG_DFL,
        signal.SIGTTIN: signal.SIG_DFL,
        signal.SIGTTOU: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in default.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
