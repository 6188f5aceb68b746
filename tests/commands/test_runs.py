"""`acer-runs`: one line a run, whatever is in its folder."""

import dataclasses
import sys
from pathlib import Path

import pytest
import yaml

from acer_robot.commands.runs import main
from acer_robot.run_folder.listing import list_runs
from acer_robot.run_folder.owner import owned
from acer_robot.run_folder.status import write_status
from acer_robot.schema import TaskConfig, TrainConfig


def make(folder, state=None, checkpoint=False):
    folder.mkdir(parents=True)
    config = TrainConfig(TaskConfig("gymnasium", "Hopper-v5"), run_dir=str(folder), steps=5000)
    (folder / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    (folder / "eval.csv").write_text("step,seconds,eval/return_mean\n1000,60,7.0\n2000,3720,3.5\n")
    if state:
        write_status(folder, state)
    if checkpoint:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints/latest.pt").touch()
    return folder


def test_every_state_is_told(tmp_path, monkeypatch, capsys):
    make(tmp_path / "sweep/a", "finished", True)
    make(tmp_path / "b", "running", True)  # and killed
    make(tmp_path / "c", "failed")
    (make(tmp_path / "d", "finished") / "config.yaml").write_text("learner: [")
    with owned(make(tmp_path / "e", "running", True)):
        runs = {listed.run: listed for listed in list_runs(tmp_path)}
        monkeypatch.setattr(sys, "argv", ["acer-runs", f"folder='{tmp_path}'"])
        main()
    assert {name: run.state for name, run in runs.items() if name != "d"} == {
        "sweep/a": "finished", "b": "interrupted, resumable", "c": "failed", "e": "running",
    }  # fmt: skip
    assert runs["d"].state.startswith("damaged: ")
    a = runs["b"]
    assert (a.task, a.learner, a.steps, a.last, a.best) == (
        "Hopper-v5",
        "acer",
        "2,000 of 5,000",
        "3.5",
        "7.0",
    )
    assert (a.time, a.size) == ("1:02 h", "0 MiB")
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "state", "task", "learner", "steps", "last", "best", "time", "size"]
    assert len(lines) == 5


def test_config_that_wandb_keeps_is_no_run(tmp_path):
    kept = make(tmp_path / "a", "finished") / "wandb/run-20261101_120000-id/files"
    kept.mkdir(parents=True)
    (kept / "config.yaml").write_text("_wandb: {value: {}}\n")
    assert [listed.run for listed in list_runs(tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("steps: 5000", "steps: 1e6"),
        ("steps: 5000", "steps:"),
        ("id: Hopper-v5", "id: 5"),
        ("estimator: acer", "estimator:"),
    ],
)
def test_odd_options_cost_one_line_alone(tmp_path, monkeypatch, capsys, text, state):
    make(tmp_path / "fine", "finished")
    options = make(tmp_path / "odd", "finished") / "config.yaml"
    assert text in options.read_text()
    options.write_text(options.read_text().replace(text, state))
    monkeypatch.setattr(sys, "argv", ["acer-runs", f"folder='{tmp_path}'"])
    main()
    out = capsys.readouterr().out
    assert out.count("damaged: ") == 1
    assert "Hopper-v5" in out


def test_folder_named_files_is_no_runs_of_wandb(tmp_path, monkeypatch):
    make(tmp_path / "files", "finished")
    monkeypatch.chdir(tmp_path)
    assert [listed.run for listed in list_runs(Path())] == ["files"]


@pytest.mark.parametrize("name", ["", "none"])
def test_folder_without_runs_is_one_line(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["acer-runs", f"folder='{tmp_path / name}'"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
