"""A job of a sweep with sweep_dir: its folder, its process, and what is skipped or gone on with."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from acer_robot.commands import launchers, sweep_job
from acer_robot.commands.launchers import check_sweep_options, cores_over, gpus_of, sweep_folder
from acer_robot.commands.sweep_job import arguments_of, environment, job_folder, reason_of
from acer_robot.errors import InputError
from acer_robot.run_folder.layout import is_empty
from acer_robot.run_folder.owner import owned
from acer_robot.run_folder.status import read_status
from acer_robot.schema import TaskConfig, TrainConfig

TINY = [
    "task=gym", "task.id=Pendulum-v1", "+task.kwargs.max_episode_steps=70", "num_envs=2", "eval_every=90",
    "eval_episodes=2", "log_every=30", "video=False", "hand_over=False", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=40", "learner.segments=4", "learner.replay_ratio=8",
    "learner.compile=False", "threads=1",
]  # fmt: skip


def test_same_overrides_are_the_same_job():
    one = job_folder("s", ["seed=1", "task=hopper", "launcher=joblib", "sweep_dir=s", "wandb.mode=offline"])
    assert one == job_folder("s", ["task=hopper", "seed=1"]) == Path("s/seed-1_task-hopper")


def test_other_overrides_are_another_job():
    lists = [
        ["a=[1,2]"],
        ["a=[1.2]"],
        ["a=1-2"],
        ["a=1:2"],
        ["a=b", "c=d"],
        ["x=" + "y" * 300],
        ["x=" + "y" * 301],
    ]
    names = [job_folder("s", overrides).name for overrides in lists]
    assert len(set(names)) == len(lists)
    assert all(len(name) < 140 and "/" not in name for name in names)


def test_job_begins_goes_on_or_is_refused(tmp_path):
    folder, overrides = tmp_path / "job", ["seed=1", "launcher=joblib", "sweep_dir=s"]
    assert arguments_of(overrides, folder) == ["seed=1", f"run_dir='{folder}'"]
    config = TrainConfig(TaskConfig("gymnasium", "Hopper-v5"), run_dir=str(folder))
    for name in ("tensorboard", "incidents/0"):
        (folder / name).mkdir(parents=True)
    (folder / "tensorboard/events").touch()
    (folder / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    assert arguments_of(overrides, folder)[-1].startswith("run_dir=")
    # of a run that was cut before its first checkpoint; what it left of an incident does not prevent another start
    assert [path.name for path in folder.iterdir()] == ["incidents"]
    assert is_empty(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/latest.1.pt").touch()
    assert arguments_of(overrides, folder) == ["seed=1", f"resume='{folder}'"]
    (folder / "checkpoints/latest.pt").touch()
    assert arguments_of(overrides, folder) == ["seed=1", f"resume='{folder}'"]
    assert arguments_of(["init_from=a", *overrides], folder) == ["seed=1", f"resume='{folder}'"]
    with owned(folder), pytest.raises(InputError, match="is in use by another process"):
        arguments_of(overrides, folder)


def test_job_removes_nothing_of_another_program(tmp_path):
    (tmp_path / "config.yaml").write_text("of: another program\n")
    (tmp_path / "metrics.csv").touch()
    with pytest.raises(InputError, match=r"config\.yaml"):
        arguments_of(["seed=1"], tmp_path)
    assert (tmp_path / "config.yaml").is_file()
    assert (tmp_path / "metrics.csv").is_file()


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (2, "x\nacer-robot: error: no such task\n", "no such task"),
        (1, "Traceback\nKeyError: 'a'\n", "exit status 1: KeyError: 'a'"),
        (-9, "", "killed by SIGKILL"),
    ],
)
def test_reason_of_a_failure(tmp_path, status, text, reason):
    (tmp_path / "log").write_text(text)
    assert reason_of(status, tmp_path / "log") == reason


@pytest.mark.parametrize(
    ("ends", "status"),
    [([-9, 0], 0), ([-9, -9, -9, 0], -9), ([1, 0], 1), ([-11, 0], -11), ([143, 0], 143)],
)
def test_killed_job_goes_on_a_few_times(tmp_path, monkeypatch, capsys, ends, status):
    left, folder = list(ends), tmp_path / "job"
    asked = []

    def ended(arguments, out, variables):
        asked.append(arguments[-1].partition("=")[0])
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints/latest.pt").touch()
        os.write(out, b"a line\n")
        return left.pop(0)

    monkeypatch.setattr(sweep_job, "_run", ended)
    assert sweep_job.run_to_end(["seed=1"], folder, tmp_path / "log", {}) == status
    runs = 1 + min(ends.count(-9), sweep_job.RESTARTS)
    assert asked == ["run_dir", *["resume"] * (runs - 1)]
    assert (tmp_path / "log").read_text() == "a line\n" * runs
    assert capsys.readouterr().err.count("job: killed by SIGKILL; it starts again, ") == runs - 1


def test_jobs_take_turns_at_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [environment("cuda", number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["4", "6", "4"]
    assert environment("cuda:1", 0)["CUDA_VISIBLE_DEVICES"] == "4,6"


def test_cores_are_divided_by_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [cores_over(threads) for threads in (1, 3, 16)] == [8, 2, 1]
    assert [gpus_of(device) for device in ("cpu", "cuda", "cuda:1")] == [None, 1, 1]


@pytest.mark.parametrize("argument", ["launcher=joblib", "search=optuna", "sweep_dir=x"])
def test_option_of_a_sweep_needs_m(argument):
    with pytest.raises(InputError, match="is for a sweep; add -m"):
        check_sweep_options([argument], is_sweep=False)


@pytest.mark.parametrize(
    ("argument", "extra"),
    [("launcher=joblib", "sweep"), ("launcher=slurm", "slurm"), ("search=optuna", "sweep")],
)
def test_missing_launcher_names_its_extra(monkeypatch, argument, extra):
    monkeypatch.setattr(launchers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"pip install 'acer-robot\[{extra}\]'"):
        check_sweep_options([argument], is_sweep=True)


def test_slurm_without_slurm_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(launchers, "_is_installed", lambda plugin: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no srun on PATH"):
        check_sweep_options(["launcher=slurm"], is_sweep=True)


def test_file_in_the_place_of_a_job_is_left_to_the_job(tmp_path):
    (tmp_path / "seed-0").write_text("a file is where the folder should be\n")
    assert sweep_job.arguments_of(["seed=0"], tmp_path / "seed-0") == [
        "seed=0", f"run_dir='{tmp_path}/seed-0'"
    ]  # fmt: skip


def test_folder_of_a_sweep_is_that_of_hydra():
    assert sweep_folder(["-m", "sweep_dir=runs/a", "seed=1"]) == ["hydra.sweep.dir=runs/a"]
    assert sweep_folder(["-m", "seed=1"]) == []


def sweep(folder, *arguments):
    command = [
        sys.executable,
        "-m",
        "acer_robot.commands.train",
        "-m",
        *TINY,
        f"sweep_dir={folder}",
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_sweep_skips_goes_on_and_names_what_failed(tmp_path):
    folder = tmp_path / "sweep"
    status, out, err = sweep(folder, "steps=120", "seed=0,1", "init_from=null")
    assert (status, err.count("job ")) == (0, 2), err
    jobs = sorted(path for path in folder.iterdir() if (path / "config.yaml").is_file())
    assert len(jobs) == 2
    assert all(read_status(job) == "finished" for job in jobs)
    assert out.count("finished") == 2
    (jobs[0] / "status.json").write_text('{"format": 1, "state": "running"}')  # as a killed run leaves it
    written = (jobs[1] / "checkpoints/latest.pt").stat().st_mtime_ns
    (jobs[0] / "checkpoints/latest.pt").write_bytes(b"")
    for former in (jobs[0] / "checkpoints").glob("latest.*.pt"):
        former.write_bytes(b"")
    status, out, err = sweep(folder, "steps=120", "seed=0,1", "init_from=null")
    assert status == 1
    assert f"{jobs[1].name}: finished already" in err
    assert (jobs[1] / "checkpoints/latest.pt").stat().st_mtime_ns == written
    assert "1 job failed:" in err
    assert "cannot be read as a checkpoint: it is empty" in err.splitlines()[-1]


def finished_in(folder):
    return [path for path in folder.iterdir() if path.is_dir() and read_status(path) == "finished"]


@pytest.mark.extras
def test_killed_and_crashed_jobs_leave_the_others(tmp_path):
    """Eight jobs side by side: one crashes, one is killed half-way and goes on; the same command again finishes all."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = tmp_path / "sweep"
    own = [*(one for one in TINY if not one.startswith("eval_every")), "steps=900", "eval_every=300"]
    command = [
        sys.executable,
        "-m",
        "acer_robot.commands.train",
        "-m",
        *own,
        f"sweep_dir={folder}",
        "seed=0,1,2,3,4,5,6,7",
        "launcher=joblib",
        "hydra.launcher.n_jobs=4",
    ]
    blocked, killed = (job_folder(str(folder), [*own, f"seed={seed}"]) for seed in (6, 3))
    blocked.parent.mkdir()
    blocked.write_text("a file is where the folder should be\n")
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (killed / "checkpoints/latest.pt").is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(int((killed / ".lock").read_text().split()[1]), signal.SIGKILL)
    patience = 600 + 10 * (time.monotonic() - start)  # half of the jobs took that long
    out, err = process.communicate(timeout=patience)
    assert process.returncode == 1
    assert f"{killed.name}: killed by SIGKILL; it starts again, 1 of at most 2 times" in err
    assert "1 job failed:" in err
    assert blocked.name in err.splitlines()[-1]
    assert len(finished_in(folder)) == 7, out
    assert "goes on from environment step" in (folder / sweep_job.LOGS / f"{killed.name}.txt").read_text()
    blocked.unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
    assert done.returncode == 0, done.stderr
    assert len(finished_in(folder)) == 8
    assert done.stderr.count("finished already") == 7


SBATCH = """#!/usr/bin/env bash
script=${!#}
cp "$script" "$FAKE_SLURM/submitted.sh"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
(
    for task in $(seq 0 "${last:-0}"); do
        SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 \\
            SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 bash "$script"
    done
) > "$FAKE_SLURM/out" 2>&1 < /dev/null &
echo "Submitted batch job 7"
"""
SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do case $1 in --output|--error) shift 2 ;; *) shift ;; esac; done
exec "$@"
"""
SACCT = """#!/usr/bin/env bash
echo "JobID|State|NodeList"
"""


@pytest.mark.extras
def test_slurm_gets_one_job_for_each(tmp_path, monkeypatch):
    """The launcher writes its batch file and waits for the jobs; stand-ins of SLURM's commands run them here."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    options = ["steps=120", "seed=0,1", "launcher=slurm", "hydra.launcher.partition=gpu"]
    status, _, err = sweep(tmp_path / "sweep", *options)
    assert status == 0, err
    assert len(finished_in(tmp_path / "sweep")) == 2
    lines = (tmp_path / "submitted.sh").read_text().splitlines()
    wanted = {"cpus-per-task=1", "partition=gpu", "array=0-1%2", "job-name=acer-train"}
    assert wanted <= {line.removeprefix("#SBATCH --") for line in lines}
    assert not any("gpus" in line for line in lines)  # device=cpu asks for none


@pytest.mark.extras
def test_optuna_searches(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    options = [
        "steps=120",
        "search=optuna",
        "hydra.sweeper.n_trials=2",
    ]
    status, _, err = sweep(tmp_path / "sweep", *options)
    assert status == 0, err
    assert len(finished_in(tmp_path / "sweep")) == 2
    assert "best_params" in (tmp_path / "sweep/optimization_results.yaml").read_text()
