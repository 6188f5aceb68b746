"""acer-play: what keys do, a push that is an impulse, and one clear line where there is no display."""

import numpy as np
import pytest
import torch

from acer_robot.commands.play import PlayConfig, check_job
from acer_robot.deployment.pacing import Pacer
from acer_robot.errors import InputError
from acer_robot.reporting.live import RestPolicy, run_live
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu.viewer import PUSH, check_display, push


class FakeView:
    """Is open for as many pictures as there are lists of keys."""

    def __init__(self, keys):
        self.keys, self.shown = list(keys), 0

    def is_open(self):
        return bool(self.keys)

    def pressed(self):
        return self.keys.pop(0)

    def show(self):
        self.shown += 1


@pytest.fixture(scope="module")
def task():
    made = make_task(TaskConfig("gymnasium", "HalfCheetah-v5"), 1, 0)
    yield made
    made.close()


def run(task, keys, **options):
    pushes = []
    view = FakeView(keys)
    run_live(
        RestPolicy(task),
        task,
        view,
        lambda: pushes.append(1),
        Pacer(0.0),
        sleep=lambda _: None,
        **options,
    )
    return task.simulation()[1].time / 0.05, len(pushes), view.shown


def test_keys_pause_push_and_reset(task):
    assert run(task, [[]] * 4) == (pytest.approx(4), 0, 4)
    assert run(task, [[], ["pause"], [], ["pause"], []]) == (pytest.approx(3), 0, 5)
    assert run(task, [[], [], ["push"], ["reset"]]) == (pytest.approx(1), 1, 4)
    assert run(task, [[], []], paused=True) == (pytest.approx(0), 0, 2)


def test_a_push_is_an_impulse_on_the_whole_robot(task):
    task.reset()
    model, data = task.simulation()
    before = data.qvel.copy()
    random = np.random.default_rng(0)
    angle = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi)
    push(task, random)
    change = data.qvel - before
    # HalfCheetah moves in the plane of x and z: of the impulse only x arrives.
    total = (model.body_subtreemass[1] * PUSH * np.cos(angle)).item()
    momentum = np.zeros(model.nv)
    import mujoco

    mujoco.mj_mulM(model, data, momentum, change)
    assert momentum[0] == pytest.approx(total, rel=1e-6)
    assert torch.isfinite(task.step(torch.zeros(1, 6, dtype=torch.float64)).observations).all()


def test_no_display_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"there is no display: .* acer-render"):
        check_display()
    monkeypatch.setenv("DISPLAY", ":9999")
    with pytest.raises(InputError, match=r"no window can be opened \(.*\); start it"):
        check_display()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give exactly one of policy=FILE"),
        ({"policy": "a", "run": "b"}, "give exactly one of policy=FILE"),
        ({"policy": "a", "rate": 0.0}, "rate=0.0 is out of range"),
        ({"policy": "a", "seed": -1}, "seed=-1 is out of range"),
    ],
)
def test_options_that_cannot_be_used(options, message):
    with pytest.raises(InputError, match=message):
        check_job(PlayConfig(**options))
