"""A run that was stopped, or killed, goes on as if nothing had happened: the same parameters and rows, bit for bit."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from composed import composed_train
from hydra.core.hydra_config import HydraConfig
from resumed_runs import check_same, resume, rows

from acer_robot.commands import runs as runs_command
from acer_robot.commands.compose import given_names
from acer_robot.errors import InputError
from acer_robot.experience.seeds import independent_seeds
from acer_robot.interrupt import Interrupted
from acer_robot.run_folder.checkpoints import content_sha256, load_run, read_checkpoint, read_content
from acer_robot.run_folder.owner import owned
from acer_robot.run_folder.status import read_status, write_status
from acer_robot.schema import WandbConfig
from acer_robot.training import run as training
from acer_robot.training.parts import Run
from acer_robot.training.resume import MAY_CHANGE, newest_point, recorded_config, resumed_config
from acer_robot.training.run import train
from acer_robot.training.validate import RANGES

TINY = [
    "num_envs=2", "steps=240", "eval_every=90", "eval_episodes=2", "log_every=30", "video=false", "hand_over=false",
    "wandb.mode=disabled", "learner.hidden=[8,8]", "learner.advantage_hidden=8", "learner.learning_starts=40",
    "learner.segments=4", "learner.replay_ratio=8", "learner.compile=false", "seed=3",
]  # fmt: skip
PENDULUM = ["task=gym", "task.id=Pendulum-v1", "+task.kwargs.max_episode_steps=70"]
TASKS = {
    "episodes that end early": [
        "task=gym",
        "task.id=InvertedPendulum-v5",
        "+task.kwargs.max_episode_steps=30",
    ],
    "dm_control": ["task=dmc/finger-spin", "+task.kwargs.time_limit=1.5"],
    "slew rate": [
        "task=gym",
        "task.id=InvertedPendulum-v5",
        "+task.kwargs.max_episode_steps=30",
        "task.slew_rate=3",
    ],
    "action repeat": [
        "task=gym",
        "task.id=InvertedPendulum-v5",
        "+task.kwargs.max_episode_steps=30",
        "task.action_repeat=2",
    ],
    "tensor task": ["task=hopper", "task.backend=batch", "+task.kwargs.max_episode_steps=30"],
    "small replay": [*PENDULUM, "learner.replay_size=120"],
    "few updates": [
        *PENDULUM,
        "learner.replay_ratio=0.1",
        "learner.learning_starts=0",
        "log_every=2",
        "eval_every=1000",
        "steps=800",
    ],
    "on policy": [*PENDULUM, "learner.on_policy=true", "learner.segments=2"],
    "priorities": [*PENDULUM, "learner.priority_exponent=0.4"],
    "priorities in a small replay": [*PENDULUM, "learner.priority_exponent=0.4", "learner.replay_size=100"],
}


def options(folder, *overrides):
    return composed_train(f"run_dir='{folder}'", *TINY, *overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of Pendulum to its end, undisturbed."""
    return train(options(tmp_path_factory.mktemp("whole") / "run", *PENDULUM))


@pytest.fixture(scope="module")
def half_run(tmp_path_factory):
    """The same run to step 130, in the middle of an episode."""
    return train(options(tmp_path_factory.mktemp("half") / "run", *PENDULUM, "steps=130"))


@pytest.fixture
def half(half_run, tmp_path):
    return shutil.copytree(half_run, tmp_path / "half")


@pytest.mark.parametrize("name", TASKS)
def test_resumed_run_is_bit_identical(name, tmp_path):
    undisturbed = train(options(tmp_path / "a", *TASKS[name]))
    total = read_checkpoint(undisturbed)["config"]["steps"]
    resumed = train(options(tmp_path / "b", *TASKS[name], f"steps={total // 2}"))
    extra = read_checkpoint(resumed)["steps"]
    resume(resumed, f"steps={total}")
    check_same(undisturbed, resumed, [extra])
    assert read_status(resumed) == "finished"


@pytest.mark.parametrize("moment", [1, 7])
def test_run_interrupted_in_an_evaluation_repeats_it(moment, whole, tmp_path, monkeypatch):
    calls, real = [], training.run_episodes

    def run_episodes(act, task, between_steps):
        def counted():
            calls.append(1)
            if len(calls) == moment:
                os.kill(os.getpid(), signal.SIGTERM)
            between_steps()

        return real(act, task, counted)

    monkeypatch.setattr(training, "run_episodes", run_episodes)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    with pytest.raises(Interrupted):
        train(options(tmp_path / "run", *PENDULUM))
    assert read_status(tmp_path / "run") == "interrupted"
    resume(tmp_path / "run")
    check_same(whole, tmp_path / "run")


def test_best_that_a_kill_prevented_is_written_at_the_resume(tmp_path, monkeypatch):
    folder = train(options(tmp_path / "run", *PENDULUM, "steps=90"))
    (folder / "checkpoints/best.pt").unlink()
    monkeypatch.setattr(training, "learn_and_finish", lambda *_: folder)
    resume(folder, "steps=240")
    assert read_checkpoint(folder, "best")["steps"] == 90


def test_killed_process_goes_on_bit_identically(whole, tmp_path):
    folder, script = tmp_path / "run", Path(__file__).resolve()
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]; import test_resume as t\n"
        "t.training.train(t.options(sys.argv[3], *t.PENDULUM, 'checkpoint.every_minutes=0.01'))"
    )
    support = script.parents[1] / "support"
    process = subprocess.Popen([sys.executable, "-c", code, str(script.parent), str(support), str(folder)])
    while not (folder / "checkpoints/latest.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert read_status(folder) == "interrupted"
    assert read_checkpoint(folder)["steps"] < 240
    resume(folder)
    check_same(whole, folder)


def test_damaged_newest_checkpoint_gives_way_to_the_one_before(whole, tmp_path, capsys):
    folder = shutil.copytree(whole, tmp_path / "run")
    assert [newest_point(folder).step, *former_steps(folder)] == [240, 180, 90]
    latest = folder / "checkpoints/latest.pt"
    latest.write_bytes(latest.read_bytes()[:5000])
    latest.with_name("latest.mine.pt").touch()
    resume(folder)
    assert "latest.pt cannot be read as a checkpoint" in (err := capsys.readouterr().err)
    assert err.count("latest.1.pt, of step 180, is used") == 1
    check_same(whole, folder)
    assert former_steps(folder) == [180, 90], "the damaged one is not kept"


def former_steps(folder):
    return [
        torch.load(path, weights_only=True)["steps"]
        for path in sorted(folder.glob("checkpoints/latest.[0-9].pt"))
    ]


def test_keep_bounds_checkpoints_and_rows_on_disk(tmp_path):
    folder = train(
        options(tmp_path / "run", *PENDULUM, "eval_every=40", "checkpoint.keep=2", "learner.replay_size=100")
    )
    assert former_steps(folder) == [200, 160]
    names = sorted(path.name for path in (folder / "checkpoints/replay").iterdir())
    # Two environments: the oldest kept checkpoint is that of row 80, and its replay begins with row 30.
    assert int(names[0][:12]) <= 30 < int(names[0][13:25])
    assert names[-1].startswith("000000000100-000000000120-")
    firsts, lasts = ([int(name[part]) for name in names] for part in (slice(12), slice(13, 25)))
    twice = [last - first for first, last in zip(firsts[1:], lasts[:-1], strict=True)]
    assert set(twice) <= {0, 1}, "no row twice but the newest of each checkpoint"
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "best.pt", "latest.1.pt", "latest.2.pt", "latest.pt", "replay",
    ]  # fmt: skip


def test_damaged_rows_are_refused_with_the_way_out(half, capsys):
    path = sorted((half / "checkpoints/replay").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    before = {path: path.read_bytes() for path in half.rglob("*.*") if path.is_file()}
    with pytest.raises(InputError, match=rf"{path.name} is damaged.*checkpoint.replay=false"):
        resume(half, "steps=240")
    assert before == {path: path.read_bytes() for path in half.rglob("*.*") if path.is_file()}
    resume(half, "steps=240", "checkpoint.replay=false")
    assert "learning goes on after 40 environment steps that refill it" in capsys.readouterr().out
    updates = [read_checkpoint(half)["learner"]["updates"], (240 - 130 - 40) * 8 // 32]
    assert updates[0] - (130 - 38) * 8 // 32 == pytest.approx(updates[1], abs=2)


def test_damaged_newest_rows_give_way_to_the_checkpoint_before(whole, tmp_path, capsys):
    folder = shutil.copytree(whole, tmp_path / "run")
    path = sorted((folder / "checkpoints/replay").iterdir())[-1]
    path.write_bytes(b"short")
    write_status(folder, "interrupted")
    resume(folder)
    said = capsys.readouterr()
    assert said.err.count("is tried") == 1
    assert f"{path.name} is damaged" in said.err
    assert "goes on from environment step 180" in said.out
    check_same(whole, folder)


def test_freed_run_goes_on_with_an_empty_replay(half, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["acer-runs", f"free='{half}'", "yes=true"])
    runs_command.main()
    assert "removed" in capsys.readouterr().out
    assert {path.name for path in half.glob("checkpoints/**/*.*")} == {"best.pt", "latest.pt"}
    resume(half, "steps=240")
    assert "the replay was not kept" in capsys.readouterr().out
    assert read_checkpoint(half)["steps"] == 240


def test_free_asks_and_refuses_what_is_no_run(half, tmp_path, capsys, monkeypatch):
    before = sorted(half.rglob("*"))
    for arguments, words in (
        ([f"free='{half}'"], "add yes=true"),
        ([f"free='{tmp_path}'", "yes=true"], "no run folder"),
        (["yes=true"], "give free=RUN"),
        ([f"replay='{tmp_path}'"], "holds no incident"),
    ):
        monkeypatch.setattr(sys, "argv", ["acer-runs", *arguments])
        with pytest.raises(SystemExit) as stopped:
            runs_command.main()
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err
    assert sorted(half.rglob("*")) == before


def test_environment_without_a_state_starts_new_episodes(half, capsys, monkeypatch):
    monkeypatch.setattr(
        "acer_robot.tasks.cpu.vector_task.CpuTask.restore",
        lambda *_: (_ for _ in ()).throw(InputError("no state")),
    )
    resume(half, "steps=240")
    assert "the episodes of training restart" in capsys.readouterr().out
    assert read_checkpoint(half)["steps"] == 240


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["learner.lr=0.1"], r"learner.lr=0.1 cannot be had: the run that goes on has learner.lr=0.0006"),
        (["task.id=Hopper-v5"], "task.id='Hopper-v5' cannot be had"),
        (["task=hopper"], r"task\.id='Hopper-v5' cannot be had"),
        (["seed=4"], "init_from="),
        (["num_envs=4"], "These may change: steps, threads"),
        (["run_dir=elsewhere"], "leave it out"),
        (["steps=130"], "give more"),
        (["steps=100"], "give more"),
        (["steps=0"], "steps=0 is out of range"),
        (["init_from=x"], "give one of them"),
    ],
)
def test_options_that_cannot_change_are_refused(half_run, given, message):
    before = {path: path.stat().st_mtime_ns for path in half_run.rglob("*.*") if path.name != ".lock"}
    with pytest.raises(InputError, match=message):
        resume(half_run, *given)
    assert before == {path: path.stat().st_mtime_ns for path in half_run.rglob("*.*") if path.name != ".lock"}


def test_compiling_and_precision_may_change_but_for_bf16(half):
    path, names = half / "config.yaml", ["learner.compile", "learner.precision"]
    written = path.read_text().replace("compile: false", "compile: true")
    path.write_text(written.replace("precision: float32", "precision: onednn"))

    def chosen(*overrides):
        learner = resumed_config(composed_train(f"resume='{half}'", *overrides), names).learner
        return learner.compile, learner.precision

    assert chosen("learner.compile=null", "learner.precision=auto") == (True, "onednn")
    assert chosen("learner.compile=false", "learner.precision=float32") == (False, "float32")
    with pytest.raises(InputError, match=r"learner\.precision='bf16' cannot be had"):
        chosen("learner.precision=bf16")
    resume(half, "steps=240", "learner.compile=false", "learner.precision=float32")
    assert read_checkpoint(half)["steps"] == 240
    path.write_text(path.read_text().replace("precision: float32", "precision: bf16"))
    with pytest.raises(InputError, match=r"has learner\.precision='bf16', and .* was trained with 'float32'"):
        resume(half, "steps=300")


def test_run_from_another_kind_of_device_goes_on(half, monkeypatch, capsys):
    def read_of_cuda(path):
        content = read_content(path)
        content["config"]["device"] = "cuda"
        states = [content["learner"], *(content["resume"][name] for name in ("replay", "collector"))]
        for state in states:
            state["generator"] = torch.zeros(16, dtype=torch.uint8)  # as large as that of CUDA
        return content

    reseeded, real = [], Run.reseed

    def reseed(run):
        real(run)
        streams = (run.collector._generator, run.replay._generator, run.learner.generator)
        reseeded.extend(stream.initial_seed() for stream in streams)

    monkeypatch.setattr(Run, "reseed", reseed)
    monkeypatch.setattr("acer_robot.training.resume.read_content", read_of_cuda)
    resume(half, "steps=240")
    seeds = independent_seeds(3)
    of_the_start = (seeds.exploration, seeds.replay, seeds.learner)
    assert len(set(reseeded)) == 3
    assert not set(reseeded) & set(of_the_start)
    assert "was on cuda before and is on cpu now" in capsys.readouterr().out
    assert read_checkpoint(half)["steps"] == 240


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nope is not a run folder: it has no config\.yaml"):
        recorded_config(tmp_path / "nope")


def with_bins(folder):
    """Make a run one that was trained with an option that is gone."""
    path = folder / "config.yaml"
    data = yaml.safe_load(path.read_text())
    data["learner"]["value_bins"] = 101
    path.write_text(yaml.safe_dump(data))
    for file in (folder / "checkpoints").glob("*.pt"):
        content = torch.load(file, weights_only=True)
        content["config"]["learner"]["value_bins"] = 101
        torch.save(content | {"sha256": content_sha256(content)}, file)


def test_a_run_with_a_retired_option_cannot_go_on(half):
    with_bins(half)
    with pytest.raises(
        InputError, match=r"trained with learner\.value_bins=101, which this version no longer has"
    ):
        resume(half, "steps=200")
    assert load_run(half).steps == 130


def test_a_run_with_a_retired_option_is_none_with_these_options(half, capsys):
    config = options(half.parent / "new", *PENDULUM, "steps=200", "resume=auto")
    write_status(half, "interrupted")
    assert resumed_config(config, []).resume == str(half)
    with_bins(half)
    assert resumed_config(config, []).resume is None
    assert capsys.readouterr().err == ""


def test_options_that_may_change_are_taken(half):
    resume(half, "steps=200", "eval_every=50", "log_every=1000", "eval_episodes=3", "checkpoint.keep=1")
    assert [int(row["step"]) for row in rows(half / "eval.csv")] == [90, 130, 150, 200]
    assert int(rows(half / "metrics.csv")[-1]["step"]) <= 130
    assert read_checkpoint(half)["config"]["eval_episodes"] == 3
    assert "eval_every: 50" in (half / "config.yaml").read_text()
    of_wandb = {f"wandb.{field.name}" for field in dataclasses.fields(WandbConfig)}
    known = (
        set(RANGES)
        | of_wandb
        | {
            "device",
            "learner.compile",
            "learner.precision",
            "hand_over",
            "video",
            "checkpoint.replay",
            "on_divergence",
            "on_environment_error",
            "tensorboard",
            "eval_online",
        }
    )
    assert of_wandb <= {name for name in MAY_CHANGE if not name.startswith("collector.")} <= known


def test_documented_table_has_the_options_that_may_change():
    text = (Path(__file__).parents[2] / "docs/runs.md").read_text(encoding="utf-8")
    table = text.partition("| option | what it changes |")[2].partition("\n\n")[0]
    names = {name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.partition(" | ")[0])}
    of_wandb = {name for name in MAY_CHANGE if name.startswith("wandb.")}
    assert "wandb.*" in names
    assert names - {"wandb.*"} | of_wandb == MAY_CHANGE.keys()


def test_rows_past_the_checkpoint_are_dropped(whole, half):
    for name in ("metrics.csv", "eval.csv"):
        with (half / name).open("a") as file:
            header, *_ = (half / name).read_text().splitlines()
            file.write("140" + "," * header.count(",") + "\r\n150,half a r")
    resume(half, "steps=240")
    check_same(whole, half, [130])


def test_resume_auto_takes_the_newest_run_of_the_same_options(half_run, tmp_path, capsys):
    a, b = (shutil.copytree(half_run, tmp_path / name) for name in "ab")
    os.utime(a / "checkpoints/latest.pt", (1, 1))

    def chosen(*more):
        return resumed_config(options(tmp_path / "new", *PENDULUM, "resume=auto", *more), [])

    assert chosen().resume is None, "both are finished"
    assert "a new one starts" in capsys.readouterr().out
    write_status(a, "interrupted")
    config = chosen("steps=500", "log_every=20", "learner.compile=null", "learner.precision=auto")
    assert (config.resume, config.run_dir) == (str(a), str(a))
    assert (config.steps, config.log_every, config.learner.compile) == (500, 20, False)
    write_status(b, "running")  # and killed
    assert chosen().resume == str(b)
    with owned(b):
        assert chosen().resume == str(a)
    assert chosen("learner.lr=0.001").resume is None
    (b / "config.yaml").write_text("learner: [")
    assert chosen().resume == str(a)
    assert f"{b} is left out" in capsys.readouterr().err


def test_resume_auto_clears_a_run_without_a_whole_checkpoint(half_run, tmp_path):
    folder = shutil.copytree(half_run, tmp_path / "run")
    for path in (folder / "checkpoints").glob("*.pt"):  # killed while it wrote the first one: rows are there
        path.rename(path.with_suffix(".new.tmp"))
    write_status(folder, "running")
    config = options(folder, *PENDULUM, "resume=auto")
    names = {path.name for path in folder.iterdir()}
    resumed_config(dataclasses.replace(config, seed=4), [])
    assert {path.name for path in folder.iterdir()} == names, "it is another run"
    assert resumed_config(config, []).resume is None
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_typed_options_are_told_from_defaults(monkeypatch):
    typed = [
        "acer-train",
        "resume=runs/a b",
        "++learner.lr=1",
        "task@task=hopper",
        "--help",
        "~experiment",
        "steps=3",
    ]
    monkeypatch.setattr(sys, "argv", typed)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # another test may have left that of a sweep
    assert given_names() == ["resume", "learner.lr", "task", "steps"]


def test_init_from_takes_networks_and_statistics_alone(whole, tmp_path):
    config = options(tmp_path / "new", *PENDULUM, f"init_from='{whole}'", "seed=8")
    old, run = load_run(whole), training.prepare(config)
    new = run.learner
    state = read_checkpoint(whole)["learner"]
    assert torch.equal(new.actor.head.weight, state["modules"]["actor.head.weight"])
    assert torch.equal(new.deployed_actor.head.weight, old.policy.actor.head.weight)
    assert torch.equal(new.normalizer.mean, old.policy.normalizer.mean)
    assert torch.equal(new.flat_actor.values[:8], new.flat_actor.parameters[0].reshape(-1)[:8])
    assert new.updates == run.collector.env_steps == run.replay.size == 0
    assert not new.optimizer.state_dict()["state"]
    run.task.close()
    with pytest.raises(InputError, match=r"the shape \[8\], and the new run's has \[9\]"):
        training.prepare(
            dataclasses.replace(config, learner=dataclasses.replace(config.learner, hidden=[9, 8]))
        )


def test_init_from_says_what_this_version_no_longer_has(half):
    with_bins(half)
    config = options(half.parent / "new", *PENDULUM, f"init_from='{half}'")
    config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, advantage_hidden=9))
    with pytest.raises(InputError, match=r"this version no longer has learner\.value_bins=101 of that run"):
        training.prepare(config)


def test_init_from_takes_the_embedding_that_critics_read(tmp_path):
    embedding = [*PENDULUM, "learner.embedding=4", "learner.embedding_hidden=6"]
    old = train(options(tmp_path / "old", *embedding, "steps=130"))
    run = training.prepare(options(tmp_path / "new", *embedding, f"init_from='{old}'", "seed=8"))
    there, here = read_checkpoint(old)["learner"]["modules"], run.learner.state_dict()
    taken = [name for name in there if name.startswith("embeddings.")]
    assert {name.split(".")[1] for name in taken} == {"learnt", "of_critic", "of_target"}
    assert all(torch.equal(here[name], there[name]) for name in taken)
    run.close()


def test_second_writer_is_refused(half):
    with owned(half), pytest.raises(InputError, match=rf"in use by process {os.getpid()} on"):
        resume(half, "steps=240")
    with owned(half):
        pass  # the lock is free again


def test_older_checkpoint_is_refused_with_the_way_out(half):
    for path in (half / "checkpoints").glob("latest*.pt"):
        content = torch.load(path, weights_only=True)
        for name in ("resume", "sha256", "software"):
            del content[name]
        torch.save(content, path)
    with pytest.raises(InputError, match=r"has no state to go on from.*init_from"):
        resume(half, "steps=240")
    with pytest.raises(InputError, match=r"nothing is not a run folder: it has no config\.yaml"):
        resume(half / "nothing")
