"""Actuators with a state of their own: an episode starts as after long at the commands at rest."""

import mujoco
import numpy as np
import pytest
import torch
from robots import POSITION, VELOCITY, WITH_STATE, own_arm

from acer_robot.errors import InputError
from acer_robot.tasks import make_task
from acer_robot.tasks.robot.build import build_robot


def positions(config, steps=7):
    """Return the joints [steps, 2, 3] at the commands at rest, over more than two episodes."""
    task = make_task(config, 2, 0)
    first = task.reset()
    rest = torch.tensor(task.spec.bounds.rest, dtype=torch.float64).repeat(2, 1)
    found = [first[:, :3]] + [task.step(rest).observations[:, :3] for _ in range(steps)]
    task.close()
    return torch.stack(found).numpy()


@pytest.mark.parametrize("name", WITH_STATE)
def test_robot_starts_as_if_at_rest_for_long(tmp_path, name):
    """Gravity moves each as it moves a robot whose actuators have no state."""
    expected = positions(own_arm(tmp_path / "plain", POSITION))
    np.testing.assert_allclose(expected[3], expected[0])  # an episode begins again
    assert abs(expected[2] - expected[0]).max() > 1e-3
    np.testing.assert_allclose(positions(own_arm(tmp_path / name, WITH_STATE[name])), expected, atol=1e-9)


def test_home_keyframe_has_the_state(tmp_path):
    robot = build_robot(own_arm(tmp_path, WITH_STATE["both"], bounds={"bend": [-1, 2]}))
    assert robot.rest == pytest.approx((1.0, -0.8, 2.0))  # twice the angles, within the bounds
    key = robot.model.key("home")
    np.testing.assert_allclose(key.ctrl, robot.rest)
    np.testing.assert_allclose(key.act, robot.rest)
    assert sorted(robot.start) == ["act", "history"]


def test_command_of_an_integrator_is_a_velocity(tmp_path):
    limited = VELOCITY + ' inheritrange="1"'
    robot = build_robot(own_arm(tmp_path, limited))
    assert robot.actuators.is_target == (False, False, False)
    assert robot.bounds.rest == (0.0, 0.0, 0.0)
    np.testing.assert_allclose(robot.model.actuator_actrange[:, 1], [2, 1, 2])  # MuJoCo ignores the gear here
    task = make_task(own_arm(tmp_path, limited), 1, 0)
    units = {field.name: field.unit for field in task.spec.observation}
    assert units["last_command:bend"] == "rad/s"
    task.close()
    free = VELOCITY.replace('ctrlrange="-1 1"', 'actrange="-9 9" forcerange="-5 5"')
    with pytest.raises(InputError, match="the commands of joint 'turn' have no finite limits"):
        build_robot(own_arm(tmp_path, free))


def test_motors_with_a_state_start_without_force(tmp_path):
    motor = 'general joint="{}" dyntype="filterexact" dynprm=".1" gainprm="3" ctrlrange="-1 1"'
    robot = build_robot(own_arm(tmp_path, motor))
    data = mujoco.MjData(robot.model)
    mujoco.mj_resetDataKeyframe(robot.model, data, 0)
    mujoco.mj_forward(robot.model, data)
    assert robot.start == {"act": (0.0, 0.0, 0.0)}
    assert not data.actuator_force.any()
