"""What a run sends to Weights & Biases: read back from an offline run, and from a stand-in for the server."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from exported import make_policy, quick_export
from wandb_records import read_offline
from wandb_server import Server

from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported
from acer_robot.reporting import wandb as wandb_run
from acer_robot.reporting.wandb_artifact import FILES
from acer_robot.reporting.wandb_download import check_reference
from acer_robot.reporting.wandb_public import public_options
from acer_robot.reporting.wandb_settings import wandb_mode
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import TaskConfig, TrainConfig, WandbConfig
from acer_robot.tasks import make_task

KEY = "5ecret0123456789abcdef0123456789abcdef01"
NAMES = {"entity": "me", "group": "seeds", "name": "first", "notes": "a try", "job_type": "train"}

RUN = """
import json, sys, time
from pathlib import Path
from acer_robot.reporting import wandb as wandb_run
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.schema import WandbConfig

run_dir, mode, names = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
wandb_run.LOAD_SECONDS, wandb_run.FINISH_SECONDS = 0.2, 20.0
options = WandbConfig(mode, project="x", tags=["one", "two"], **names)
config = {"run_dir": str(run_dir), "task": {"kwargs": {"xml_file": str(run_dir / "robot.xml")}}, "steps": 20}
with RunLogger(run_dir, options, config, 20) as log:
    log.log_metrics(10, {"loss/q": 0.5})
    log.log_histograms(10, {"advantage": [-1.0, 0.0, 0.0, 1.0]})
    for step, value in ((10, 3.0), (20, 2.0)):
        log.log_evaluation(step, {"seconds": 1.0, "eval/return_mean": value})
    time.sleep(0.5)  # some samples of the machine's loads
    files = [run_dir / name for name in ("report.html", "videos/policy.mp4")]
    log.close([*sorted((run_dir / "export").iterdir()), *files])
"""


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """The export folder of a policy that was never trained, for a task that exists."""
    folder, config = tmp_path_factory.mktemp("pendulum"), TaskConfig("gymnasium", "Pendulum-v1")
    task = make_task(config, 1, 0)
    spec = task.spec
    task.close()
    policy = make_policy(spec.input_size, spec.action_size)
    quick_export(TrainedRun(policy, TrainConfig(task=config, run_dir="x"), spec, 20), folder)
    score = {"return_mean": 12.5, "return_std": 0.5, "episodes": 3, "seed": 1}
    (folder / "evaluation.json").write_text(json.dumps(score))
    return folder


def environment(home, **variables):
    """Variables of a process that knows of no wandb but what it is told."""
    kept = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    return kept | {"HOME": str(home)} | variables


def record(folder, export, mode, **variables):
    """Let RUN record a run in a process of its own; return the run folder."""
    run_dir = folder / "first_run"
    (run_dir / "videos").mkdir(parents=True)
    (run_dir / "videos" / "policy.mp4").write_bytes(b"no real video")
    (run_dir / "report.html").write_text(f"the report of {run_dir}", encoding="utf-8")
    shutil.copytree(export, run_dir / "export")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(run_dir), mode, json.dumps(NAMES)],
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return run_dir, done.stdout


@pytest.fixture(scope="module")
def offline(tmp_path_factory, pendulum):
    """The folder of an offline run, what it printed and what it recorded."""
    run_dir, printed = record(tmp_path_factory.mktemp("offline"), pendulum, "offline")
    return run_dir, printed, read_offline(run_dir)


def test_names_tags_and_notes_are_recorded(offline):
    run = offline[2].run
    assert list(run.tags) == ["one", "two"]
    kept = [run.entity, run.run_group, run.display_name, run.notes, run.job_type]
    assert kept == [NAMES[name] for name in ("entity", "group", "name", "notes", "job_type")]
    assert run.project == "x"


def test_config_has_versions_and_no_path(offline):
    config = offline[2].config
    assert config["software"]["versions"]["acer-robot"]
    assert "revision" in config["software"]
    assert config["run_dir"] == "first_run"
    assert config["task"] == {"kwargs": {"xml_file": "robot.xml"}}


def test_rows_have_environment_steps_as_axis(offline):
    recorded = offline[2]
    assert recorded.metrics["*"].step_metric == "step"
    assert {"step": 10, "loss/q": 0.5}.items() <= recorded.history[0].items()
    evaluations = [row for row in recorded.history if "eval/return_mean" in row]
    assert [(row["step"], row["eval/return_mean"]) for row in evaluations] == [(10, 3.0), (20, 2.0)]


def test_summary_has_best_last_and_exported_score(offline):
    expected = {
        "best/return_mean": 3.0, "best/step": 10, "last/return_mean": 2.0, "last/step": 20,
        "exported/return_mean": 12.5, "exported/return_std": 0.5, "exported/episodes": 3,
    }  # fmt: skip
    assert expected.items() <= offline[2].summary.items()
    assert offline[2].exit == 0


def test_histograms_are_recorded(offline):
    (row,) = (row for row in offline[2].history if "histogram/advantage._type" in row)
    assert (row["step"], row["histogram/advantage._type"]) == (10, "histogram")
    assert sum(row["histogram/advantage.values"]) == 4
    assert len(row["histogram/advantage.bins"]) == 65


def test_loads_of_the_machine_are_recorded_without_its_name(offline):
    recorded = offline[2]
    assert {"memory_percent", "proc.memory.rssMB", "proc.cpu.threads"} <= recorded.system.keys()
    assert not any(name.startswith("disk") for name in recorded.system)
    assert "environment" not in recorded.kinds
    assert recorded.run.host == "-"
    assert not list(recorded.folder.rglob("wandb-metadata.json"))


def test_video_of_the_exported_policy_is_recorded(offline):
    recorded = offline[2]
    (row,) = (row for row in recorded.history if "exported/video._type" in row)
    assert (row["step"], row["exported/video._type"]) == (20, "video-file")
    assert row["exported/video.path"] in recorded.files
    assert (recorded.folder / "files" / row["exported/video.path"]).read_bytes() == b"no real video"


def test_exported_policy_is_an_artifact(offline, pendulum):
    (artifact,) = offline[2].artifacts
    assert (artifact.name, artifact.type) == ("policy", "policy")
    assert set(artifact.aliases) == {"latest", offline[2].run.run_id}
    assert sorted(entry.path for entry in artifact.manifest.contents) == sorted(FILES)
    metadata = json.loads(artifact.metadata)
    written = json.loads((pendulum / "policy.json").read_text())
    assert metadata["weights_sha256"] == written["weights_sha256"]
    assert (metadata["task"], metadata["return_mean"]) == ("gymnasium/Pendulum-v1", 12.5)
    # What will be uploaded lies in the run folder, relative to it, whatever becomes of export/.
    for entry in artifact.manifest.contents:
        assert not Path(entry.local_path).is_absolute()
        assert (offline[0] / entry.local_path).read_bytes() == (pendulum / entry.path).read_bytes()


def test_offline_run_names_both_commands(offline):
    run_dir, printed, recorded = offline
    assert f"`cd {run_dir} && wandb sync wandb/{recorded.folder.name}`" in printed
    assert f"`wandb leet run {recorded.folder}`" in printed


@pytest.fixture(scope="module")
def synced(offline, tmp_path_factory):
    """The server after `wandb sync` of the offline run."""
    server = Server()
    printed = re.search(r"`cd (.*) && wandb (sync .*?)`", offline[1])
    variables = environment(tmp_path_factory.mktemp("sync"), WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    command = [sys.executable, "-m", "wandb", *printed[2].split()]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, cwd=printed[1])
    assert done.returncode == 0, done.stderr
    yield server
    server.stop()


def test_sync_uploads_videos_and_artifact(synced, offline, pendulum):
    uploaded = {path.removeprefix("/upload/"): body for path, body in synced.uploads.items()}
    (video,) = (name for name in uploaded if name.endswith(".mp4"))
    assert uploaded[video] == b"no real video"
    assert synced.artifacts.committed
    for name in FILES:
        assert synced.uploads[f"/artifact/files/{name}"] == (pendulum / name).read_bytes(), name
    assert uploaded["report.html"] == b"the report of first_run"


def test_sync_uploads_nothing_private(synced, offline):
    sent = b"\n".join(body for _, body in synced.bodies)
    assert rb"\"eval/return_mean\":2" in sent
    for private in (
        KEY,
        str(offline[0].parent),
        f'"{socket.gethostname()}"',
        "acer_robot.reporting",
        sys.executable,
    ):
        assert private.encode() not in sent, private


def test_online_sends_the_same(tmp_path, pendulum):
    server = Server()
    try:
        record(tmp_path, pendulum, "online", WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    finally:
        server.stop()
    assert {f"/artifact/files/{name}" for name in FILES} <= server.uploads.keys()
    sent = b"\n".join(body for _, body in server.bodies)
    for text in (b"exported/video", b"best/return_mean", b"system.memory_percent", b'"seeds"', b"xml_file"):
        assert text in sent, text
    for private in (KEY, str(tmp_path), f'"{socket.gethostname()}"', "acer_robot.reporting", sys.executable):
        assert private.encode() not in sent, private


def evaluate(home, server, policy):
    command = [
        sys.executable,
        "-m",
        "acer_robot.commands.evaluate",
        f"'policy=\"{policy}\"'"[1:-1],
        "episodes=1",
    ]
    variables = environment(home, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, cwd=home)


def test_artifact_is_evaluated(synced, tmp_path):
    done = evaluate(tmp_path, synced, "wandb:me/x/policy:latest")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^episode 0: return -\d", done.stdout, re.MULTILINE)


def test_unknown_artifact_ends_in_one_line(synced, tmp_path):
    done = evaluate(tmp_path, synced, "wandb:me/x/policy:v7")
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert "policy=wandb:me/x/policy:v7 cannot be downloaded" in line
    assert "policy:v7" in line


def test_changed_artifact_is_refused(synced, tmp_path):
    name = "/artifact/files/policy.pt"
    kept = synced.uploads[name]
    synced.uploads[name] = kept[:-1] + bytes([kept[-1] ^ 1])
    try:
        done = evaluate(tmp_path, synced, "wandb:me/x/policy:latest")
    finally:
        synced.uploads[name] = kept
    assert done.returncode == 2, done.stdout
    assert "cannot be downloaded" in done.stderr
    assert "igest" in done.stderr  # wandb's word for it


def test_policy_files_are_loaded_as_they_were(pendulum):
    assert load_exported(pendulum / "policy.pt").spec.id == "gymnasium/Pendulum-v1"


@pytest.mark.parametrize(
    "policy", ["wandb:", "wandb:policy:latest", "wandb:me/x/policy", "wandb:me/x/y/policy:v1"]
)
def test_names_of_no_artifact_are_refused(policy):
    with pytest.raises(InputError, match="wandb:ENTITY/PROJECT/policy:VERSION"):
        check_reference(policy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entity": "me/project"}, r"wandb\.entity='me/project' is not a user or team"),
        ({"group": ""}, r"wandb\.group='' cannot be used"),
        ({"name": "a\nb"}, r"wandb\.name='a\\nb' cannot be used"),
        ({"job_type": "j" * 129}, r"wandb\.job_type=.* 1 to 128 printable characters"),
        ({"tags": ["t" * 65]}, r"wandb\.tags has .* 1 to 64 printable"),
        ({"tags": ["a", "a"]}, r"names a tag twice"),
        ({"notes": "\0"}, r"wandb\.notes has a NUL"),
        ({"video_every": -1}, r"wandb\.video_every=-1 is out of range"),
    ],
)
def test_options_that_wandb_would_refuse_end_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as refused:
        wandb_mode(WandbConfig("offline", **options))
    assert len(str(refused.value).splitlines()) == 1


def test_paths_in_options_are_cut():
    options = {"run_dir": "../a/b", "files": ["/x/y", "z/w"], "text": "n/a"}
    assert public_options(options) == {"run_dir": "b", "files": ["y", "z/w"], "text": "n/a"}


STOPPED = """
import os, signal, sys, time
from pathlib import Path
from acer_robot.reporting import wandb as wandb_run
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.schema import WandbConfig

wandb_run.FINISH_SECONDS, wandb_run.GRACE_SECONDS = 0.5, 0.5
log = RunLogger(Path(sys.argv[1]), WandbConfig("offline"), {}, 100)
os.kill(wandb_run.wandb_module().setup()._connection._proc._process.pid, signal.SIGSTOP)
row = {f"number/{i}": 1.0 for i in range(20)}
for step in range(3000):
    log.log_metrics(step, row)
print("logged", flush=True)
log.close()
"""


def test_wandb_that_hangs_holds_up_nothing(tmp_path):
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "logged\nwandb: stopped (it does not answer); `cd " in done.stdout
    assert done.stderr == ""


def test_rows_beyond_what_may_wait_end_the_wandb_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(wandb_run, "WAITING", 2)
    hung = wandb_run.WandbRun.__new__(wandb_run.WandbRun)
    hung._run_dir, hung._lost, hung._run = tmp_path, False, type("Run", (), {"dir": str(tmp_path / "files")})
    hung._waiting = wandb_run.queue.Queue(wandb_run.WAITING)
    for step in range(5):
        hung.log(step, {"loss/q": 1.0})
    assert capsys.readouterr().out.count("wandb: stopped (it does not answer)") == 1
    assert hung._waiting.qsize() == 2
