"""How commands start: what they import, the list of commands, TAB completion, and a reader that leaves."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from acer_robot.__main__ import COMMANDS, listing, main
from acer_robot.commands.completion import task_completions
from acer_robot.commands.compose import check_config_name
from acer_robot.errors import InputError
from acer_robot.run_folder.policy_path import given_policy

HEAVY = ("torch", "mujoco", "numpy", "matplotlib", "gymnasium", "wandb")
SCRIPTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]


def test_help_imports_nothing_that_takes_seconds():
    """One process for all commands, because each start takes time."""
    modules = ", ".join(f"acer_robot.commands.{module}" for module in COMMANDS.values())
    code = (
        f"import sys, {modules}\nsys.argv = ['acer-train', '--help']\nacer_robot.commands.train.main()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("acer-train: train a policy with ACER")
    assert done.stderr.strip() == "[]"


def test_module_lists_every_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["acer_robot"])
    main()
    assert capsys.readouterr().out == listing() + "\n"
    assert {
        f"acer-{name}": f"acer_robot.commands.{module}:main" for name, module in COMMANDS.items()
    } == SCRIPTS
    assert "  train   train a policy with ACER" in listing()


@pytest.mark.parametrize("name", ["eval", "acer-eval"])
def test_module_runs_a_command(capsys, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", ["acer_robot", name, "--version"])
    main()
    assert capsys.readouterr().out.startswith("acer-eval 0.")


def test_unknown_command_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["acer_robot", "fly"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("acer-robot: error: fly is no command; there are train, eval, ")


def complete(monkeypatch, line, arguments=("-sc", "query=bash")):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.delenv("COMP_POINT", raising=False)
    return task_completions(list(arguments))


def test_tasks_of_dm_control_are_completed(monkeypatch):
    expected = ["task=dmc/walker-run", "task=dmc/walker-stand", "task=dmc/walker-walk"]
    assert complete(monkeypatch, "acer-train seed=1 task=dmc/wal") == expected
    assert {"task=halfcheetah", "task=dmc/humanoid-run"} <= set(complete(monkeypatch, "acer-train task="))
    assert complete(monkeypatch, "acer-train learner=") is None
    assert complete(monkeypatch, "acer-train task=", ["task=ant"]) is None


def test_reader_that_leaves_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "acer_robot", "runs", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("argument", ["--config-name", "--config-name=config", "-cn", "--config-path=x"])
def test_another_main_config_is_refused(argument):
    with pytest.raises(InputError, match="cannot be used: options of your own go into a file"):
        check_config_name(["--config-dir", "x", argument, "config"])


def test_policy_is_a_file_a_run_or_its_export(tmp_path):
    file = tmp_path / "export/policy.pt"
    with pytest.raises(InputError, match=r"holds no export/policy\.pt"):
        given_policy(str(tmp_path), None)
    file.parent.mkdir()
    file.touch()
    for policy, run in (
        (str(file), None),
        (str(tmp_path), None),
        (str(file.parent), None),
        (None, str(tmp_path)),
    ):
        assert given_policy(policy, run) == file
    for policy, run, reason in (
        (None, None, "exactly one"),
        ("a", "b", "exactly one"),
        ("a", None, "policy=a does not exist"),
        (None, str(file), "is no folder"),
    ):
        with pytest.raises(InputError, match=reason):
            given_policy(policy, run)
