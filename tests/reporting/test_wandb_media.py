"""Videos of evaluations: which are due, that nothing waits for them, and what they show."""

import time
from pathlib import Path

import pytest
from exported import make_run

from acer_robot.policies.exported.file import load_exported
from acer_robot.reporting import run_logger, wandb_media
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.reporting.wandb_media import EvaluationVideos, render_checkpoint
from acer_robot.schema import WandbConfig

COPY = """
import sys
from pathlib import Path
Path(sys.argv[2]).write_bytes((Path(sys.argv[1]) / "checkpoints" / "latest.pt").read_bytes())
"""
FAIL = "import sys; sys.exit('MuJoCo cannot draw here')"
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """Make EvaluationVideos of a run folder with a checkpoint, whose child runs the given code."""
    made = []

    def make(code, every=1):
        monkeypatch.setattr(wandb_media, "_CHILD", code)
        save(tmp_path, b"first")
        made.append(EvaluationVideos(tmp_path, every))
        return made[-1]

    yield make
    for each in made:
        each.close()


def save(run_dir, content):
    """Write a checkpoint as a run does: into another file, which then takes its place."""
    folder = run_dir / "checkpoints"
    folder.mkdir(exist_ok=True)
    (folder / "latest.tmp").write_bytes(content)
    (folder / "latest.tmp").replace(folder / "latest.pt")


def test_video_shows_the_checkpoint_of_its_evaluation(videos, tmp_path):
    started = videos(COPY)
    started.begin(100)
    save(tmp_path, b"second")
    step, file = started.finished(wait=30.0)
    assert (step, file.read_bytes()) == (100, b"first")
    started.begin(200)
    step, second = started.finished(wait=30.0)
    assert (step, second.read_bytes()) == (200, b"second")
    assert file.exists()  # wandb may not have read it yet
    started.close()
    assert not file.exists()


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [1, 2, 3, 4]), (2, [2, 4])])
def test_every_nth_evaluation_is_due_a_video(videos, every, due):
    started, seen = videos(COPY, every), []
    for step in range(1, 5):
        started.begin(step)
        video = started.finished(wait=30.0)
        seen += [] if video is None else [video[0]]
    assert seen == due


def test_nothing_waits_for_a_video(videos):
    started = videos(SLEEP)
    began = time.monotonic()
    for step in (100, 200):
        started.begin(step)
        assert started.finished() is None
    started.close()
    assert time.monotonic() - began < 10


def test_after_one_failure_no_other_video_is_tried(videos):
    started = videos(FAIL)
    started.begin(100)
    assert started.finished(wait=30.0) == "MuJoCo cannot draw here"
    started.begin(200)
    assert started.finished(wait=1.0) is None


def test_checkpoint_is_scripted_for_its_video(tmp_path, monkeypatch):
    seen = {}

    def render(policy, out, seed, seconds):
        seen.update(policy=load_exported(policy), out=out, seconds=seconds)

    monkeypatch.setattr("acer_robot.run_folder.checkpoints.load_run", lambda folder: make_run())
    monkeypatch.setattr("acer_robot.reporting.video.render_in_subprocess", render)
    assert render_checkpoint(tmp_path, tmp_path / "film.mp4") is None
    assert seen["policy"].spec.id == "test/robot"
    assert (seen["out"], seen["seconds"]) == (tmp_path / "film.mp4", wandb_media.VIDEO_SECONDS)


def test_damaged_checkpoint_is_named(tmp_path):
    assert "has no checkpoint" in render_checkpoint(tmp_path, tmp_path / "film.mp4")


class FakeRun:
    """Stands in for a WandbRun, and keeps what it is asked."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        return lambda *arguments: self.asked.append((name, *arguments))


def test_logger_sends_a_video_once_it_is_ready(tmp_path, monkeypatch):
    run = FakeRun()
    monkeypatch.setattr(run_logger, "start_wandb", lambda *_: run)
    monkeypatch.setattr(wandb_media, "_CHILD", COPY)
    save(tmp_path, b"first")
    with RunLogger(tmp_path, WandbConfig(video_every=1), {}, 100) as log:
        log.log_evaluation(50, {"eval/return_mean": 1.0})
        log.film(50)
        log.close()
    (video,) = (asked for asked in run.asked if asked[0] == "log_video")
    assert video[1:3] == (50, "eval/video")
    assert isinstance(video[3], Path)
    assert run.asked[-1] == ("close", [], 0)


def test_video_false_means_no_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(run_logger, "start_wandb", lambda *_: FakeRun())
    monkeypatch.setattr(wandb_media, "_CHILD", COPY)
    save(tmp_path, b"first")
    with RunLogger(tmp_path, WandbConfig(video_every=1), {"video": False}, 100) as log:
        log.film(50)
        assert log._videos.finished(wait=0.1) is None
