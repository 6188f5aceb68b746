"""A run folder that cannot be created is refused in one line, before environments are built."""

import errno
import os
from pathlib import Path

import pytest
from exported import make_run

from acer_robot.deployment.export import export_policy
from acer_robot.errors import InputError
from acer_robot.run_folder.layout import check_folder, create_folder
from acer_robot.schema import TaskConfig, TrainConfig
from acer_robot.training import run as training


def make_paths(folder):
    (folder / "file").touch()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dangling").symlink_to(folder / "nowhere")
    return folder


PATHS = [
    ("file", "is a file"),
    ("file/run", "file is one; give a folder"),
    ("file/deep/er/run", "file is one; give a folder"),
    ("loop", "remove the link"),
    ("loop/run", "remove the link"),
    ("dangling", "remove the link"),
    ("x" * 256, "cannot be a folder: File name too long"),
    ("new/" + "ü" * 128, "more than 255 bytes"),
    ("d/" * 1980, "shorten it"),
    ("a\0b", "NUL"),
]


@pytest.mark.parametrize(("name", "words"), PATHS)
def test_folder_that_cannot_be_created_is_refused(tmp_path, monkeypatch, name, words):
    path = make_paths(tmp_path) / name
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError) as refused:
        check_folder("run_dir", path)
    assert words in str(refused.value)
    assert str(refused.value).startswith("run_dir=")
    for name in ("make_task", "make_training_task"):
        monkeypatch.setattr(training, name, lambda *_: pytest.fail("an environment was built"))
    with pytest.raises(InputError, match="run_dir="):
        training.prepare(TrainConfig(TaskConfig("gymnasium", "Pendulum-v1"), run_dir=str(path)))
    with pytest.raises(InputError, match="out="):
        export_policy(make_run(), path)
    assert sorted(os.listdir(tmp_path)) == before


def test_folder_that_the_system_refuses_is_one_line():
    with pytest.raises(InputError, match=r"^run_dir='/proc/run' cannot be created: .*; give another folder$"):
        create_folder("run_dir", Path("/proc/run"))


def test_full_disk_stays_a_full_disk(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        create_folder("run_dir", tmp_path / "run")


def test_read_only_parent_is_refused(tmp_path, monkeypatch):
    # The user may be root, who may write everywhere but on a read-only disk.
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(InputError, match=r"cannot be written: .* is read-only"):
        check_folder("run_dir", tmp_path / "new" / "run")


def test_new_and_existing_folders_are_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for path in (tmp_path, tmp_path / "a/b/c", tmp_path / "link/run", tmp_path / ("x" * 255)):
        check_folder("run_dir", path)
    check_folder("run_dir", type(tmp_path)("runs/x"))
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
