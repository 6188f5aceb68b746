"""Damaged exports and tables: each command refuses them in one line that names the file."""

import dataclasses
import json
import shutil
import sys

import pytest
import torch
from exported import make_run

from acer_robot.commands import export as export_command
from acer_robot.deployment.export import check_task, export_policy
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported
from acer_robot.reporting.report import write_report
from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds
from acer_robot.tasks import make_task


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    export_policy(make_run(), folder / "export")
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "metrics.csv").write_text("step,loss/q\n10,1.0\n20,0.5\n")
    (folder / "eval.csv").write_text("step,seconds,eval/return_mean\n10,1.0,5.0\n")
    score = {"return_mean": 1.0, "return_std": 0.0, "episodes": 1, "seed": 0, "returns": [1.0]}
    (folder / "export/evaluation.json").write_text(json.dumps(score))
    return folder


@pytest.fixture
def run_dir(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "run")


def refusal(call, *arguments):
    with pytest.raises(InputError) as refused:
        call(*arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


DAMAGE = [b"[]", b"\xff\xfe", b'{"a": ', b"{}", b'{"task": {}}']
TABLE_DAMAGE = [b"[]", b"\xff\xfe", b"step,a\n1,x\n", b"a,b\n1,2\n", b"step,step\n1,2\n", b"step,a\nnan,2\n"]
FILES = [
    *[("config.yaml", b"\xff"), ("environment.txt", b"\xff")],
    *[("export/policy.json", data) for data in (b"", *DAMAGE)],
    *[("export/evaluation.json", data) for data in (b"", *DAMAGE, b'{"return_mean": "x"}')],
    *[(name, data) for name in ("metrics.csv", "eval.csv") for data in TABLE_DAMAGE],
]


@pytest.mark.parametrize(("name", "data"), FILES)
def test_report_refuses_damaged_file_by_name(run_dir, name, data):
    write_report(run_dir).unlink()
    (run_dir / name).write_bytes(data)
    assert f"{name} is damaged: " in refusal(write_report, run_dir)
    assert not (run_dir / "report.html").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.pop("task"),
        lambda metadata: metadata.pop("weights_sha256"),
        lambda metadata: metadata.pop("task_config"),
        lambda metadata: metadata["task_config"].update(unknown=1),
        lambda metadata: metadata["task_config"].update(id="evilmod:X-v0"),
        lambda metadata: metadata["task"].update(id="test/other"),
        lambda metadata: metadata["task"].update(control_dt="fast"),
        b"\xff\xfe",
        b"[]",
        b"",
    ],
)
def test_file_whose_metadata_was_edited_is_refused(run_dir, change):
    path = run_dir / "export/policy.pt"
    policy = load_exported(path)
    path.with_suffix(".json").unlink()  # it has the hash of the file
    text = change
    if not isinstance(change, bytes):
        change(policy.metadata)
        text = json.dumps(policy.metadata)
    torch.jit.save(policy.module, str(path), _extra_files={"policy.json": text})
    assert str(path) in refusal(load_exported, path)


@pytest.mark.parametrize("size", [0, 1, 3000, -1000, -22, -1])
def test_truncated_policy_without_its_json_is_refused(run_dir, size):
    path = run_dir / "export/policy.pt"
    path.with_suffix(".json").unlink()
    path.write_bytes(path.read_bytes()[:size])
    assert "cannot be read as a TorchScript file" in refusal(load_exported, path)


@pytest.mark.parametrize("data", [b"", *DAMAGE])
def test_damaged_json_beside_a_policy_is_refused(run_dir, data):
    (run_dir / "export/policy.json").write_bytes(data)
    assert "policy.json is not the metadata" in refusal(load_exported, run_dir / "export/policy.pt")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("task", lambda metadata: metadata["task"]["bounds"].update(high=[1000.0])),
        ("rest", lambda metadata: metadata.pop("rest")),
        ("note", lambda metadata: metadata.update(note="tested on the robot")),
    ],
)
def test_edited_json_beside_a_policy_is_noticed(run_dir, name, change):
    beside = run_dir / "export/policy.json"
    metadata = json.loads(beside.read_text())
    load_exported(run_dir / "export/policy.pt")
    change(metadata)
    beside.write_text(json.dumps(metadata))
    message = refusal(load_exported, run_dir / "export/policy.pt")
    assert f"policy.json was changed after the export: its '{name}'" in message


def test_flipped_bits_of_the_archives_directory_are_refused(run_dir):
    path = run_dir / "export/policy.pt"
    path.with_suffix(".json").unlink()
    whole, messages = path.read_bytes(), []
    for place in range(len(whole) - 1200, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            load_exported(path)  # where a time stamp is flipped nothing has changed
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert not any("\n" in message for message in messages)


def test_widened_bounds_of_a_checkpoint_are_refused(tmp_path, monkeypatch, capsys):
    config = TaskConfig("gymnasium", "Pendulum-v1")
    task = make_task(config, 1, 0)
    run = make_run()
    run = dataclasses.replace(run, spec=task.spec, config=dataclasses.replace(run.config, task=config))
    check_task(run)
    bounds = ActionBounds(task.spec.bounds.names, (-1000.0,), (1000.0,))
    wide = dataclasses.replace(run, spec=dataclasses.replace(task.spec, bounds=bounds))
    assert "differs from the one in the file in its bounds" in refusal(check_task, wide)
    monkeypatch.setattr("acer_robot.run_folder.checkpoints.load_run", lambda *_: wide)
    monkeypatch.setattr(
        sys, "argv", ["acer-export", f"run={tmp_path}", f"out={tmp_path / 'out'}", "episodes=0"]
    )
    with pytest.raises(SystemExit) as stop:
        export_command.main()
    assert stop.value.code == 2
    assert "bounds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
