"""checkpoints/best.pt: the learner where the exported policy's evaluation was highest, and how to get at it."""

import contextlib
import io
import json
import shutil
import sys

import pytest
import torch

from acer_robot.commands import evaluate as evaluate_command
from acer_robot.commands import export as export_command
from acer_robot.commands import train as train_command
from acer_robot.errors import InputError
from acer_robot.reporting.report import write_report
from acer_robot.run_folder.checkpoints import load_run, read_checkpoint
from acer_robot.run_folder.tables import best_evaluation
from acer_robot.training import run as train
from acer_robot.training.finish import better_one

NAN = float("nan")
TINY = [
    "task=gym", "task.id=Pendulum-v1", "num_envs=2", "steps=400", "eval_every=100", "eval_episodes=2", "video=false",
    "wandb.mode=disabled", "learner.hidden=[8,8]", "learner.advantage_hidden=8", "learner.learning_starts=20",
]  # fmt: skip


def call(monkeypatch, main, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    main()


@pytest.fixture(scope="module")
def falling_run(tmp_path_factory):
    """A real run whose evaluations are said to be 10, 30, 30 and 5; and what it printed."""
    said = iter((10.0, 30.0, 30.0, 5.0))
    real = train.evaluate
    folder, printed = tmp_path_factory.mktemp("falling") / "run", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(train, "evaluate", lambda *run: {**real(*run), "eval/return_mean": next(said)})
        call(patch, train_command.main, f"run_dir={folder}", *TINY)
    return folder, printed.getvalue()


@pytest.mark.usefixtures("checks_in_this_process")
def test_best_evaluation_is_kept_and_exported(falling_run, monkeypatch, capsys):
    folder, printed = falling_run
    assert (
        f"at step 300 an evaluation had 30.0, well above that; to export the policy of that moment: "
        f"acer-export run={folder} checkpoint=best" in printed
    )
    latest, best = read_checkpoint(folder), read_checkpoint(folder, "best")
    assert (latest["steps"], best["steps"]) == (400, 300)
    assert 0 < best["learner"]["updates"] < latest["learner"]["updates"]
    weights = {name: load_run(folder, name).policy.actor.head.weight for name in ("latest", "best")}
    assert torch.equal(weights["best"], best["learner"]["modules"]["deployed_actor.head.weight"])
    assert not torch.equal(weights["best"], weights["latest"])
    steps = []
    for more in ([], ["checkpoint=best"]):
        call(monkeypatch, export_command.main, f"run={folder}", "episodes=0", *more)
        card = json.loads((folder / "export/policy.json").read_text())
        steps.append(card["training"]["steps"])
    assert steps == [400, 300]
    returns = []
    for more in ([], ["checkpoint=best"]):
        call(monkeypatch, evaluate_command.main, f"run={folder}", "episodes=2", *more)
        returns.append(json.loads(capsys.readouterr().out.splitlines()[-1])["returns"])
    assert returns[0] != returns[1]


@pytest.mark.parametrize("log_every", [50, 1_000_000])
def test_killed_run_keeps_its_last_evaluation(tmp_path, monkeypatch, log_every):
    folder, found = tmp_path / "run", []
    real = train.evaluate

    def noting(*run):
        there = (folder / "checkpoints/latest.pt").is_file()
        found.append(read_checkpoint(folder)["steps"] if there else None)
        return real(*run)

    monkeypatch.setattr(train, "evaluate", noting)
    call(
        monkeypatch,
        train_command.main,
        f"run_dir={folder}",
        *TINY,
        f"log_every={log_every}",
        "hand_over=false",
    )
    assert found == [None, 100, 200, 300]
    assert read_checkpoint(folder)["steps"] == 400


def test_report_names_the_best_evaluation(falling_run, tmp_path):
    folder = shutil.copytree(falling_run[0], tmp_path / "run")
    sentence = "The exported policy's highest, 30.0 at step 300, is kept as checkpoints/best.pt"
    assert sentence in (folder / "report.html").read_text()
    (folder / "checkpoints/best.pt").unlink()
    assert sentence not in write_report(folder).read_text()


def test_unknown_or_missing_checkpoint_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match=r"checkpoint='bset'.*latest, best"):
        read_checkpoint(tmp_path, "bset")
    for name, other in (("best", "latest"), ("latest", "best")):  # a run that was killed may have best alone
        folder = tmp_path / name / "checkpoints"
        folder.mkdir(parents=True)
        (folder / f"{other}.pt").touch()
        with pytest.raises(
            InputError, match=rf"{name}\.pt does not exist; give checkpoint={other}, which it has"
        ):
            load_run(folder.parent, name)
    with pytest.raises(SystemExit):
        call(monkeypatch, evaluate_command.main, f"policy={tmp_path / 'policy.pt'}", "checkpoint=best")
    assert "checkpoint=best needs run=DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("returns", "best"),
    [([1.0, 3.0, 2.0], (3.0, 20)), ([3.0, NAN, 3.0], (3.0, 30)), ([NAN], None), ([], None)],
)
def test_the_highest_evaluation_of_a_table(returns, best):
    steps = [10.0 * (i + 1) for i in range(len(returns))]
    assert best_evaluation({"step": steps, "eval/return_mean": returns}) == best
    assert best_evaluation({}) is None


@pytest.mark.parametrize(
    ("best", "exported", "worse"),
    [(1000.0, 899.0, True), (1000.0, 901.0, False), (-100.0, -111.0, True), (-100.0, -109.0, False)],
)
def test_hint_where_the_export_falls_short_by_a_tenth(tmp_path, best, exported, worse):
    (tmp_path / "eval.csv").write_text(f"step,eval/return_mean\n1000,{best}\n2000,{exported}\n")
    assert bool(better_one(tmp_path, exported)) is worse


def test_no_hint_to_export_the_last_evaluation_again(tmp_path):
    (tmp_path / "eval.csv").write_text("step,eval/return_mean\n1000,10\n2000,1000\n")
    assert better_one(tmp_path, 100.0) == ""
