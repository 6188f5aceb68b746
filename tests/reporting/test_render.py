"""Videos of an exported policy: the frames that are kept, real-time playback, and failures that cost no training."""

import resource
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from drawing import needs_gl
from exported import make_bounds, make_policy, quick_export
from PIL import Image

from acer_robot.errors import InputError
from acer_robot.reporting.gl import probe_gl
from acer_robot.reporting.overlay import Moment, with_overlay
from acer_robot.reporting.video import (
    Rollout,
    VideoOptions,
    check_same_rate,
    check_video,
    render_in_subprocess,
    render_policy,
    side_by_side,
    write_video,
)
from acer_robot.run_folder.checkpoints import TrainedRun
from acer_robot.run_folder.policy_path import checkpoint_of, policy_file
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.spec import ActionBounds
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


def test_a_gif_is_written_by_its_suffix(tmp_path):
    out = tmp_path / "a.GIF"
    pictures = (np.full((64, 48, 3), (10 * i, 100, 200), dtype=np.uint8) for i in range(20))
    assert write_video(out, pictures, 20.0) == 20
    with Image.open(out) as gif:
        assert (gif.format, gif.size, gif.n_frames, gif.info["duration"]) == ("GIF", (48, 64), 20, 50)
        gif.seek(19)
        colour = np.asarray(gif.convert("RGB"))[10, 10]
    np.testing.assert_allclose(colour, (190, 100, 200), atol=8)
    assert list(tmp_path.iterdir()) == [out]


def test_the_shorter_film_keeps_its_last_picture():
    def film(brightness, length):
        return (np.full((2, 3, 3), brightness + i, np.uint8) for i in range(length))

    joined = list(side_by_side([film(0, 2), film(100, 4), film(200, 1), film(50, 1)], 2, 2))
    assert [picture.shape for picture in joined] == [(4, 6, 3)] * 4
    assert [picture[0, 0, 0] for picture in joined] == [0, 1, 1, 1]
    assert [picture[0, 5, 0] for picture in joined] == [100, 101, 102, 103]
    assert [picture[3, 0, 0] for picture in joined] == [200] * 4


def test_pictures_of_two_sizes_are_refused():
    films = [iter([np.zeros((2, 2, 3), np.uint8)]), iter([np.zeros((2, 4, 3), np.uint8)])]
    with pytest.raises(InputError, match="pictures of 2 x 2 and 4 x 2 pixels"):
        next(side_by_side(films, 1, 2))


def test_policies_of_two_rates_are_refused():
    paths = [Path("a"), Path("b")]
    rollouts = [Rollout(FakePolicy(), FakeTask(dt), VideoOptions()) for dt in (0.05, 0.01)]
    with pytest.raises(InputError, match=r"a is drawn at 20 frames/s and b at 25, .*: fps=20"):
        check_same_rate(rollouts, paths)
    check_same_rate([Rollout(FakePolicy(), FakeTask(dt), VideoOptions(fps=20)) for dt in (0.05, 0.01)], paths)


def test_advice_for_two_rates_works():
    paths = [Path("a"), Path("b")]
    with pytest.raises(InputError, match=r"both allow: fps=7$"):
        check_same_rate([Rollout(FakePolicy(), FakeTask(dt), VideoOptions()) for dt in (0.05, 0.015)], paths)
    check_same_rate([Rollout(FakePolicy(), FakeTask(dt), VideoOptions(fps=7)) for dt in (0.05, 0.015)], paths)


def test_a_gif_is_not_faster_than_browsers_show():
    task, options = FakeTask(0.015), VideoOptions(fps=50)
    assert Rollout(FakePolicy(), task, options).fps == pytest.approx(1 / 0.015)
    assert Rollout(FakePolicy(), task, options, most_fps=50).fps == pytest.approx(1 / 0.03)
    assert Rollout(FakePolicy(), FakeTask(0.02), options, most_fps=50).fps == pytest.approx(50.0)


def test_video_that_cannot_be_written_whole_is_refused(tmp_path):
    out, random = tmp_path / "out.mp4", np.random.default_rng(0)
    out.write_bytes(b"the film before")
    pictures = (random.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(20))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # what ffmpeg may write
    try:
        with pytest.raises(InputError, match="of 20 frames can be read of it; is the disk full"):
            write_video(out, pictures, 20.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert out.read_bytes() == b"the film before"
    assert list(tmp_path.iterdir()) == [out]


def test_grid_beside_policies_is_refused():
    with pytest.raises(InputError, match="grid and policies cannot be had together"):
        check_video(Path("a.mp4"), VideoOptions(grid=(2, 2)), policies=2)
    with pytest.raises(InputError, match="policies names 9 policies"):
        check_video(Path("a.mp4"), VideoOptions(), policies=9)


def test_a_folder_is_no_film(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(InputError, match=r"a\.mp4' is a folder"):
        check_video(tmp_path / "a.mp4", VideoOptions())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, or lies below one"):
        check_video(tmp_path / "file/a.mp4", VideoOptions())


class MovingTask(FakeTask):
    """Moves 3 m a second along x."""

    def __init__(self, control_dt, bounds):
        super().__init__(control_dt, 1000)
        self.spec.bounds = bounds

    def position(self):
        return np.array([3.0 * self.time * self.spec.control_dt, 1.0, 2.0])


def test_overlay_shows_the_moment_of_each_picture(monkeypatch):
    moments = []

    def note(picture, bounds, moment, name):
        moments.append(moment)
        return picture

    monkeypatch.setattr("acer_robot.reporting.overlay.with_overlay", note)
    task = MovingTask(0.01, make_bounds((-1.0,), (1.0,)))
    roll(task, overlay=True, max_seconds=0.12, fps=25)
    assert [moment.seconds for moment in moments] == pytest.approx([0.0, 0.04, 0.08])
    assert [moment.total for moment in moments] == [0.0, 2.0, 4.0]
    assert [moment.speed for moment in moments] == pytest.approx([0.0, 3.0, 3.0])
    assert [float(moment.command[0]) for moment in moments] == [0.5, 42.5, 84.5]


def test_a_command_at_its_bound_is_red():
    bounds = make_bounds((-1.0, 0.0), (1.0, 10.0))
    picture = np.full((240, 240, 3), 128, np.uint8)

    def red(command):
        drawn = with_overlay(picture, bounds, Moment(1.0, 2.0, None, np.array(command))).astype(int)
        assert drawn.shape == picture.shape
        return int(((drawn[..., 0] > 200) & (drawn[..., 1] < 120)).sum())

    assert red([0.5, 5.0]) == 0
    assert red([0.5, 10.0]) > 50
    assert red([-1.0, 0.0]) > 1.8 * red([-1.0, 5.0])
    assert (picture == 128).all()


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("FL_hip_joint", "FL_calf_joint"), ["FL_hip", "FL_calf"]),
        (("FL_hip_joint", "FL_calf"), ["FL_hip_joint", "FL_calf"]),
        (("bthigh", "bshin"), ["bthigh", "bshin"]),
        (("only_joint",), ["only_joint"]),
    ],
)
def test_overlay_leaves_out_what_all_names_end_with(monkeypatch, names, shown):
    drawn = []
    monkeypatch.setattr(
        "acer_robot.reporting.overlay._text_within", lambda draw, place, text, *_: drawn.append(text)
    )
    bounds = ActionBounds(names, (-1.0,) * len(names), (1.0,) * len(names))
    with_overlay(np.zeros((480, 480, 3), np.uint8), bounds, Moment(1.0, 2.0, 3.0, np.zeros(len(names))))
    assert drawn[1:] == shown


@pytest.mark.parametrize("joints", [1, 60])
def test_overlay_fits_into_the_smallest_picture(joints):
    picture = np.zeros((16, 16, 3), np.uint8)
    bounds = make_bounds((-1.0,) * joints, (1.0,) * joints)
    shown = with_overlay(picture, bounds, Moment(1.0, 2.0, 3.0, np.zeros(joints)), "name")
    assert shown.shape == (16, 16, 3)


def test_what_a_path_to_a_policy_means(tmp_path, monkeypatch):
    export = tmp_path / "run/export"
    export.mkdir(parents=True)
    file = export / "policy.pt"
    with pytest.raises(InputError, match=r"holds no export/policy\.pt"):
        policy_file(tmp_path / "run")
    file.touch()
    assert {policy_file(path) for path in (tmp_path / "run", export, file)} == {file}
    assert checkpoint_of(Path("run/checkpoints/best.pt")) == (Path("run"), "best")
    assert checkpoint_of(file) is None
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run/checkpoints")
    assert checkpoint_of(Path("best.pt")) == (tmp_path / "run", "best")


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
        ({"out": "video.avi"}, r"out='video\.avi' is neither an mp4 file nor a gif"),
        ({"episodes": 0}, "episodes=0 is out of range"),
        ({"fps": 0}, "fps=0 is out of range"),
        ({"max_seconds": 0.0}, r"max_seconds=0\.0 is out of range"),
        ({"max_seconds": float("nan")}, "max_seconds=nan is out of range"),
        ({"width": 8}, "width=8 is out of range"),
        ({"out": "tests"}, "neither an mp4"),
        ({"out": "a.gif", "fps": 60}, "fps=60 is too fast for a gif"),
        ({"grid": (0, 2)}, r"grid=\[0, 2\] is not two numbers from 1 to 8"),
        ({"grid": (2,)}, r"grid=\[2\] is not two numbers"),
        ({"grid": (8, 8), "width": 640}, "the film would have 5120 x 3840 pixels"),
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
