"""Frames of every kind become RGB, or are refused with their shape."""

import numpy as np
import probed_envs  # noqa: F401 - registers the environments
import pytest

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task


def drawn(frame):
    task = make_task(TaskConfig("gymnasium", "Odd-v0", {"frame": frame}), 1, 0, render_size=(4, 4))
    try:
        task.reset()
        return task.render()
    finally:
        task.close()


RED = np.zeros((4, 6, 3), np.uint8)
RED[:, :3, 0] = 255


@pytest.mark.parametrize(
    "frame",
    [
        RED,
        np.dstack([RED, np.full((4, 6), 255, np.uint8)]),
        RED / 255.0,
        RED.astype(np.float32),
        RED.astype(np.int64),
    ],
    ids=["rgb", "rgba", "unit", "real numbers", "integers"],
)
def test_frames_become_rgb(frame):
    picture = drawn(frame)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, RED)


@pytest.mark.parametrize("grey", [RED[..., 0], RED[..., :1], RED[..., 0] / 255.0])
def test_grey_frames_become_rgb(grey):
    np.testing.assert_array_equal(drawn(grey), np.repeat(RED[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("frame", "fragment"),
    [
        (np.zeros((1, 64, 3), np.uint8), r"frames have shape \(1, 64, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), r"frames have shape \(4, 4, 2\)"),
        ([RED, RED], "a list of 2 frames"),
        (None, r"render\(\) returns None"),
        (np.full((4, 4, 3), np.nan), "reach from nan"),
        (np.full((4, 4, 3), -1.0), "reach from -1 to -1; expected whole numbers"),
    ],
)
def test_other_frames_are_refused(frame, fragment):
    with pytest.raises(InputError, match=fragment):
        drawn(frame)
