"""`acer-export rest=..`: from the command line to the last command of a safe stop."""

import csv
import dataclasses
import json
import sys
from itertools import pairwise

import pytest
from exported import make_policy, make_run

from acer_robot.commands import export as export_command
from acer_robot.commands.deploy import DeployConfig, deploy
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.limits import limits_of_file
from acer_robot.errors import InputError
from acer_robot.run_folder.layout import FILM
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task


@pytest.fixture
def export(tmp_path, monkeypatch):
    """`acer-export` of a run of Pendulum-v1, which takes one torque within [-2, 2]."""
    config = TaskConfig("gymnasium", "Pendulum-v1")
    task = make_task(config, 1, 0)
    task.close()
    run = make_run(make_policy(3, 1), task.spec.bounds)
    run = dataclasses.replace(run, spec=task.spec, config=dataclasses.replace(run.config, task=config))
    monkeypatch.setattr("acer_robot.run_folder.checkpoints.load_run", lambda *_: run)

    def export(*options):
        out = [] if "out=null" in options else [f"out={tmp_path / 'out'}"]
        arguments = [f"run={tmp_path}", "episodes=0", *out, *options]
        monkeypatch.setattr(sys, "argv", ["acer-export", *arguments])
        export_command.main()
        return tmp_path / "out"

    return export


@pytest.mark.usefixtures("checks_in_this_process")
def test_a_safe_stop_ends_at_the_exported_rest(export, tmp_path):
    joint = make_task(TaskConfig("gymnasium", "Pendulum-v1"), 1, 0).spec.bounds.names[0]
    folder = export(f"rest={{{joint}: -1.5}}")
    assert json.loads((folder / "policy.json").read_text())["rest"] == [-1.5]
    assert "-1.5" in (folder / "POLICY_CARD.md").read_text()
    safety = Options(ramp_in=0.1, hold=0.1)
    options = {"ramp": True, "rate": 0.0, "max_steps": 20, "safety": safety}
    summary = deploy(DeployConfig(str(folder / "policy.pt"), log=str(tmp_path / "log.csv"), **options))
    assert summary["cause"] == "end"
    with (tmp_path / "log.csv").open() as file:
        file.readline()
        rows = list(csv.DictReader(file))
    commands = [float(row[f"command:{joint}"]) for row in rows]
    assert (rows[-1]["state"], commands[-1]) == ("stopped", -1.5)
    assert abs(commands[19] + 1.5) > 0.1  # the policy was elsewhere
    assert max(abs(b - a) for a, b in pairwise(commands[20:])) <= 0.1 + 1e-6


@pytest.mark.usefixtures("checks_in_this_process")
def test_what_shows_the_former_policy_is_named(export, tmp_path, capsys):
    export()
    assert "former policy" not in capsys.readouterr().out
    (tmp_path / "videos").mkdir()
    for name in (FILM, "report.html"):
        (tmp_path / name).write_bytes(b"of the policy before")
    policy = tmp_path / "export/policy.pt"
    export("out=null")
    said = capsys.readouterr().out
    export("out=null")  # the same policy again
    assert "former policy" not in capsys.readouterr().out
    assert f"to renew it: acer-render policy={policy} out={tmp_path / FILM}\n" in said
    assert f"to renew it: acer-report run={tmp_path}\n" in said


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("{elbow: 0.0}", "rest names joint 'elbow'; this policy has "),
        ("{JOINT: 2.5}", "is 2.5, outside its bounds"),
    ],
)
def test_rest_that_cannot_be_used_is_one_line(export, tmp_path, capsys, rest, message):
    joint = make_task(TaskConfig("gymnasium", "Pendulum-v1"), 1, 0).spec.bounds.names[0]
    with pytest.raises(SystemExit) as stop:
        export(f"rest={rest.replace('JOINT', joint)}")
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "rest", [["a", 0.0, 0.0, -2.0], "home", [0.0], {"joint0": 0.0}, [True, 0.0, 0.0, -2.0], []]
)
def test_rest_in_policy_json_must_be_numbers(rest):
    spec = make_run().spec
    normalizer = {"enabled": False}
    with pytest.raises(
        InputError, match=r"rest in policy\.json is .*; expected one number for each of 4 joints"
    ):
        limits_of_file(spec, {"rest": rest, "normalizer": normalizer})
    limits = limits_of_file(spec, {"rest": [0, 0.1, 0.2, -2.5], "normalizer": normalizer})
    assert limits.rest.tolist() == [0.0, 0.1, 0.2, -2.5]
