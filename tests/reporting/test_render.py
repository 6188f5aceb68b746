"""Videos of an exported policy: the frames that are kept, real-time playback, and failures that cost no training."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from drawing import needs_gl
from exported import make_policy, quick_export

from acer_robot.errors import InputError
from acer_robot.reporting.gl import probe_gl
from acer_robot.reporting.video import Rollout, VideoOptions, render_in_subprocess, render_policy, write_video
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.interface import StepResult


class FakeTask:
    """Counts what it is asked for; its pictures are uniform, with the command's number as brightness."""

    def __init__(self, control_dt, episode=1000):
        self.spec = type("Spec", (), {"control_dt": control_dt})
        self.episode, self.resets, self.drawn, self.commands, self.time = episode, 0, [], [], 0

    def reset(self):
        self.resets, self.time = self.resets + 1, 0
        return torch.full((1, 2), float(self.time))

    def render(self):
        self.drawn.append(self.time)
        return np.full((32, 48, 3), self.time % 256, dtype=np.uint8)

    def step(self, commands):
        self.commands.append(commands.clone())
        self.time += 1
        over = torch.tensor([self.time == self.episode])
        observation = torch.full((1, 2), float(self.time))
        return StepResult(
            observation, observation, torch.tensor([0.5]), over, ~over & over, torch.tensor([1])
        )


class FakePolicy:
    """Commands ten times the observation, plus the number of commands since its reset."""

    def reset(self):
        self.memory = 0.0

    def act(self, observations):
        self.memory += 0.5
        return observations[:, :1] * 10.0 + self.memory


def roll(task, **options):
    rollout = Rollout(FakePolicy(), task, VideoOptions(**options))
    return rollout, list(rollout.pictures())


@pytest.mark.parametrize(
    ("control_dt", "fps", "stride", "actual"),
    [(0.05, 25, 1, 20.0), (0.01, 25, 4, 25.0), (0.002, 50, 10, 50.0)],
)
def test_only_kept_frames_are_drawn_in_real_time(control_dt, fps, stride, actual):
    task = FakeTask(control_dt, episode=40)
    rollout, pictures = roll(task, fps=fps)
    assert task.drawn == list(range(0, 40, stride))
    assert len(pictures) == len(task.drawn)
    assert rollout.fps == pytest.approx(actual)
    assert rollout.returns == [20.0]


def test_policy_forgets_between_rendered_episodes():
    task = FakeTask(0.05, episode=3)
    roll(task, episodes=2)
    assert [float(command[0, 0]) for command in task.commands] == [0.5, 11.0, 21.5] * 2


def test_episodes_are_cut_after_max_seconds():
    task = FakeTask(0.05, episode=1000)
    rollout, pictures = roll(task, episodes=2, max_seconds=1.0)
    assert task.resets == 2
    assert len(pictures) == 40
    assert rollout.returns == [10.0, 10.0]


def test_the_video_has_the_frames_in_h264_for_every_browser(tmp_path):
    out = tmp_path / "videos" / "a b.mp4"
    pictures = (np.full((65, 49, 3), 10 * i, dtype=np.uint8) for i in range(20))
    assert write_video(out, pictures, 20.0) == 20
    reader = imageio_ffmpeg.read_frames(str(out))
    about = next(reader)
    assert about["codec"] == "h264"
    assert about["pix_fmt"].startswith("yuv420p")
    assert about["size"] == (48, 64)
    assert about["fps"] == 20.0
    brightness = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    assert brightness == pytest.approx([10.0 * i for i in range(20)], abs=3)
    assert [path.name for path in out.parent.iterdir()] == ["a b.mp4"]


def test_a_failure_leaves_no_half_video(tmp_path):
    def broken():
        yield np.zeros((32, 32, 3), dtype=np.uint8)
        raise RuntimeError("lost the window")

    with pytest.raises(RuntimeError, match="lost the window"):
        write_video(tmp_path / "out.mp4", broken(), 20.0)
    assert list(tmp_path.iterdir()) == []


def test_no_backend_is_one_clear_error_that_names_the_packages(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(InputError, match=r"glfw: .*unset MUJOCO_GL, or .*: .*apt-get install -y libegl1 "):
        probe_gl()


def test_backends_are_tried_in_order_and_their_reasons_are_told(monkeypatch):
    tried = []

    def fail(code, arguments, backend, timeout):
        tried.append(backend)
        raise RuntimeError(f"no {backend} here")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("acer_robot.reporting.gl.run_python", fail)
    with pytest.raises(InputError, match=r"egl: no egl here; osmesa: no osmesa here\); on Debian .*libegl1"):
        probe_gl()
    assert tried == ["egl", "osmesa"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"out": "video.avi"}, r"out='video\.avi' is not an mp4 file"),
        ({"episodes": 0}, "episodes=0 is out of range"),
        ({"fps": 0}, "fps=0 is out of range"),
        ({"max_seconds": 0.0}, r"max_seconds=0\.0 is out of range"),
        ({"max_seconds": float("nan")}, "max_seconds=nan is out of range"),
        ({"width": 8}, "width=8 is out of range"),
    ],
)
def test_options_that_cannot_be_used_are_named(option, message):
    with pytest.raises(InputError, match=message):
        render_policy(Path("policy.pt"), Path(option.pop("out", "video.mp4")), VideoOptions(**option))


def test_impossible_video_gives_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("acer_robot.reporting.video.probe_gl", lambda: "egl")
    out = tmp_path / "out.mp4"
    assert "does not exist" in render_in_subprocess(tmp_path / "policy.pt", out)
    assert render_in_subprocess(tmp_path / "policy.pt", out, timeout=0.2) == "gave up after 0 s"
    monkeypatch.setattr("acer_robot.reporting.video.probe_gl", _no_backend)
    assert render_in_subprocess(tmp_path / "policy.pt", out) == "nothing draws"
    assert not out.exists()


def _no_backend():
    raise InputError("nothing draws")


@needs_gl
@pytest.mark.parametrize(
    ("suite", "task_id"), [("gymnasium", "HalfCheetah-v5"), ("dm_control", "walker-walk")]
)
def test_an_exported_file_alone_becomes_a_video(tmp_path, suite, task_id):
    config = TaskConfig(suite=suite, id=task_id)
    task = make_task(config, 1, 0)
    policy = make_policy(task.spec.observation_size, task.spec.action_size)
    run = TrainedRun(policy, TrainConfig(task=config, learner=LearnerConfig(), run_dir="x"), task.spec, 0)
    file = quick_export(run, tmp_path / "export")
    file.with_suffix(".json").unlink()
    out = tmp_path / "video.mp4"
    assert render_in_subprocess(file, out, max_seconds=0.25) is None
    reader = imageio_ffmpeg.read_frames(str(out))
    about = next(reader)
    frames = [np.frombuffer(frame, np.uint8).astype(float) for frame in reader]
    assert about["size"] == (480, 480)
    assert len(frames) == round(0.25 * about["fps"])
    assert min(frame.std() for frame in frames) > 10  # not a uniform picture
    assert np.abs(frames[-1] - frames[0]).max() > 50  # and something moves
