"""The W&B Report: its panels, read back from its specification, and what a server is sent."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from run_folders import make_run
from wandb_server import Server

from acer_robot.errors import InputError
from acer_robot.metrics import COLLECT, METRICS, TASK
from acer_robot.reporting import wandb_report
from acer_robot.reporting.runs import group, read_run
from acer_robot.reporting.wandb_report import (
    build_report,
    check_report,
    diagnostic_names,
    not_uploaded,
    specification,
    wandb_id,
    without_folders,
)

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("wandb_workspaces") is None, reason="the extra wandb-reports is not installed"
)


@pytest.fixture
def runs(tmp_path):
    """Two settings with two seeds each, and a run that was never reported to wandb."""
    for lr in (0.001, 0.003):
        for seed in (0, 1):
            run = make_run(tmp_path / f"runs/{lr}_{seed}", seed, lr=lr, level=1000 * lr)
            (run / "metrics.csv").write_text("step,grad/norm_policy\n1000,0.5\n2000,0.0\n3000,0.0\n")
            (run / f"wandb/offline-run-20261101_120000-id{lr * 1000:.0f}{seed}").mkdir(parents=True)
    make_run(tmp_path / "runs/silent", 2, lr=0.001)
    return tmp_path / "runs"


@pytest.fixture
def spec(runs):
    return specification(build_report([f"{runs}/*"], "me", "x")[0])


def panels(spec):
    """Return every panel, and the sets of runs of the first grid."""
    grids = [block["metadata"] for block in spec["blocks"] if block["type"] == "panel-grid"]
    found = [panel for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    return found, grids[0]["runSets"]


@pytest.mark.extras
@needs_extra
def test_sets_are_settings_over_their_seeds(spec):
    sets = panels(spec)[1]
    ids = [one["filters"]["filters"][0]["value"] for one in sets]
    assert [one["name"] for one in sets] == ["lr=0.001", "lr=0.003"]
    assert ids == [["id10", "id11"], ["id30", "id31"]]
    assert [one["grouping"] for one in sets] == [[{"section": "config", "name": "task.value.id"}]] * 2


@pytest.mark.extras
@needs_extra
def test_curves_are_by_steps_and_by_time(spec):
    lines = [panel["config"] for panel in panels(spec)[0] if panel["viewType"] == "Run History Line Plot"]
    returns = [line for line in lines if line["metrics"] == ["eval/return_mean"]]
    assert {"step", "seconds"} == {line["xAxis"] for line in returns}
    assert all(line["aggregate"] and line["groupAgg"] == "mean" for line in lines)


@pytest.mark.extras
@needs_extra
def test_every_diagnostic_has_a_panel_and_a_hint(spec):
    text = json.dumps(spec, ensure_ascii=False)
    drawn = {name for panel in panels(spec)[0] for name in panel["config"].get("metrics", [])}
    for name in set(METRICS) - set(TASK) - set(COLLECT) - {"seconds", "time/seconds"}:
        assert name in drawn
        assert json.dumps(METRICS[name].healthy)[1:-1] in text


def test_numbers_of_the_task_are_diagnostics(runs):
    folder = runs / "0.001_0"
    (folder / "metrics.csv").write_text("step,reward/velocity,of_another_version\n1000,0.5,1\n")
    (settings,) = group([read_run(folder)]).values()
    names = diagnostic_names(settings)
    assert names[-1] == "reward/velocity"
    assert "acer/std" in names


@pytest.mark.extras
@needs_extra
def test_videos_artifact_scores_and_warnings_are_there(spec):
    found = [panel for panel in panels(spec)[0] if panel["viewType"] == "Media Browser"]
    assert found[0]["config"]["mediaKeys"] == ["exported/video", "eval/video"]
    text = json.dumps(spec)
    assert '"artifactName": {"nodeType": "const", "type": "string", "val": "policy"}' in text
    assert "return at the end" in text
    assert "learner.lr | 0.001 | 0.003" in text
    assert "grad/norm_policy is 0 over the last tenth of the run, below 1e-08." in text


@pytest.mark.extras
@needs_extra
def test_run_without_wandb_is_named(runs):
    _, kept, left_out = build_report([f"{runs}/*"], "me", "x")
    assert len(kept) == 4
    assert left_out == [f"{runs}/silent was not reported to wandb (wandb.mode=disabled)"]
    with pytest.raises(InputError, match="was reported to wandb"):
        build_report([str(runs / "silent")], "me", "x")


def test_uploads_that_are_missing_are_named(runs):
    run = runs / "0.001_0"
    assert not_uploaded([run]) == [f"cd {run} && wandb sync wandb/offline-run-20261101_120000-id10"]
    (run / "wandb/offline-run-20261101_120000-id10/run-id10.wandb.synced").touch()
    assert not_uploaded([run]) == []
    (run / "wandb/run-20261101_130000-other").mkdir()
    assert wandb_id(run) == "other"
    (run / "wandb/run-20261101_140000-walk-run-1").mkdir()
    assert wandb_id(run) == "walk-run-1"


def test_folders_do_not_leave_the_machine():
    assert without_folders("xml_file=/home/me/a.xml, or [/b/c.xml]") == "xml_file=a.xml, or [c.xml]"
    assert without_folders("runs/a and 3 / 4") == "runs/a and 3 / 4"


def test_absent_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(InputError, match=r"pip install 'acer-robot\[wandb-reports\]'"):
        check_report("me/x")


@pytest.mark.parametrize("target", ["me", "me/", "/x", "me/x/y", "wandb:me/x", "m e/x"])
def test_bad_project_is_refused(monkeypatch, target):
    monkeypatch.setattr(wandb_report, "workspaces", lambda: None)
    with pytest.raises(InputError, match=r"wandb\.report="):
        check_report(target)


@pytest.mark.extras
@needs_extra
def test_report_is_saved(runs, tmp_path):
    server = Server()
    kept = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "acer_robot.commands.report",
            f"runs=[{runs}/0*]",
            "out=out.html",
            "wandb.report=me/x",
        ],
        env=kept | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40, "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    server.stop()
    assert done.returncode == 0, done.stderr
    (saved,) = server.reports
    assert (saved["entityName"], saved["projectName"], saved["type"]) == ("me", "x", "runs")
    assert len(panels(json.loads(saved["spec"]))[1]) == 2
    assert str(tmp_path) not in saved["spec"]
    address = done.stdout.splitlines()[-1]
    assert address.startswith("W&B Report: ")
    assert "/me/x/reports/4-runs-of-Robot-v1-with-acer_robot--" in address
