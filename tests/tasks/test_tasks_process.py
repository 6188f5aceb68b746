"""What tasks do to the process they run in: imports, the display, files and pictures."""

import os
import subprocess
import sys

import pytest


def run(script, folder, **environment):
    """Run `script` in a fresh Python in `folder`, without a display; return its output and its complaints."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MUJOCO_GL")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**inherited, **environment}
    )
    return done.stdout, done.stderr


def test_importing_tasks_loads_no_simulator_and_no_hydra(tmp_path):
    script = """
import sys, acer_robot.tasks
heavy = ("mujoco", "dm_control", "hydra", "omegaconf", "wandb")
print([name for name in heavy if name in sys.modules])
"""
    assert run(script, tmp_path) == ("[]\n", "")


STEPPING = """
import os, sys
import torch
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
for config in (TaskConfig("gymnasium", "HalfCheetah-v5"), TaskConfig("dm_control", "quadruped-escape")):
    task = make_task(config, 2, 0)
    task.reset()
    task.step(torch.zeros(2, task.spec.action_size))
    task.close()
print(hasattr(sys.modules["mujoco"], "GLContext"), os.environ.get("MUJOCO_GL"))
"""


def test_stepping_needs_no_display_and_is_silent(tmp_path):
    assert run(STEPPING, tmp_path) == ("False None\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_is_chosen_is_kept(tmp_path):
    assert run(STEPPING, tmp_path, MUJOCO_GL="off") == ("False off\n", "")


def test_what_mujoco_says_of_a_users_model_is_shown_once(tmp_path):
    script = """
import warnings
import mujoco
from acer_robot.tasks.model.simulator import quiet_building

for _ in range(2):
    with quiet_building():
        handler = mujoco.get_mju_user_warning()
        handler("the compiler noticed something")
        handler("compiler attribute 'settotalmass' is deprecated and more")
print(mujoco.get_mju_user_warning())
"""
    out, complaints = run(script, tmp_path, MUJOCO_GL="disable")
    assert out == "None\n"
    assert complaints.count("MuJoCo: the compiler noticed something") == 1
    assert "settotalmass" not in complaints


def backend():
    """Return an OpenGL backend that answers on this machine, or None."""
    script = "import mujoco; mujoco.GLContext(8, 8).make_current()"
    for name in ("egl", "osmesa"):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, env={**os.environ, "MUJOCO_GL": name}
        )
        if done.returncode == 0:
            return name
    return None


PICTURES = """
import numpy as np
import torch
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
lqr = TaskConfig("dm_control", "lqr-lqr_2_1", bounds={"joint_0": [-1.0, 1.0]})
for config in (TaskConfig("gymnasium", "HalfCheetah-v5"), TaskConfig("dm_control", "walker-walk"), lqr):
    drawn, plain = make_task(config, 2, 0, render_size=(704, 96)), make_task(config, 2, 0)
    np.testing.assert_array_equal(drawn.reset(), plain.reset())
    first = drawn.render()
    assert first.shape == (96, 704, 3) and first.dtype == np.uint8 and first.std() > 5
    for _ in range(20):
        commands = torch.ones(2, drawn.spec.action_size)
        np.testing.assert_array_equal(drawn.step(commands).observations, plain.step(commands).observations)
    assert (drawn.render() != first).any()
    try:
        plain.render()
    except RuntimeError as error:
        print(error)
    drawn.close()
"""


def test_pictures_leave_the_physics_alone(tmp_path):
    name = backend()
    if name is None:
        pytest.skip("no OpenGL backend answers")
    out, complaints = run(PICTURES, tmp_path, MUJOCO_GL=name)
    assert complaints == ""
    assert out.count("without a render_size") == 3


FOLLOWING = """
import numpy as np
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
for name in ("HalfCheetah-v5", "Walker2d-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5"):
    task = make_task(TaskConfig("gymnasium", name), 1, 0, render_size=(160, 160))
    task.reset()
    robot = task._environments[0].unwrapped
    position = robot.data.qpos.copy()
    position[0] += 30.0
    robot.set_state(position, robot.data.qvel)
    picture = task.render().astype(int)
    coloured = (picture.max(-1) - picture.min(-1) > 40).mean()  # the floor is grey, the robots are not
    print(name, "seen" if coloured > 0.01 else "lost")
"""


def test_the_camera_follows_a_robot_that_runs_away(tmp_path):
    name = backend()
    if name is None:
        pytest.skip("no OpenGL backend answers")
    out, _ = run(FOLLOWING, tmp_path, MUJOCO_GL=name)
    assert out.split() == [
        word
        for task in ("HalfCheetah-v5", "Walker2d-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5")
        for word in (task, "seen")
    ]
