"""Joint names, limits and observation layouts, compared with MuJoCo's own look-ups by name."""

import mujoco
import numpy as np
import pytest
import scripted_envs  # registers Arm-v0 and Spaces-v0
import torch
from gymnasium.wrappers import RescaleAction

from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu import from_gymnasium
from acer_robot.tasks.model.names import actuator_names, position_entries, velocity_entries

ROBOT = """
<mujoco>
  <worldbody>
    <body pos="0 0 1">
      <freejoint name="root"/>
      <geom size="0.1"/>
      <body><joint name="hip" type="ball"/><geom size="0.1" pos="0.2 0 0"/>
        <body><joint name="knee"/><geom size="0.1" pos="0.4 0 0"/>
          <body><joint name="rail" type="slide"/><geom size="0.1" pos="0.6 0 0"/>
            <body><joint/><geom size="0.1" pos="0.8 0 0"/></body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <tendon><fixed name="cable"><joint joint="knee" coef="1"/><joint joint="rail" coef="1"/></fixed></tendon>
  <actuator>{actuators}</actuator>
</mujoco>
"""


def names_of(actuators):
    return actuator_names(mujoco.MjModel.from_xml_string(ROBOT.format(actuators=actuators)))


@pytest.mark.parametrize(
    ("actuators", "names"),
    [
        ('<motor name="m" joint="knee"/><motor joint="rail"/>', ("knee", "rail")),
        ('<motor name="m" jointinparent="knee"/>', ("knee",)),
        ('<position name="p" joint="knee"/><velocity name="v" joint="knee"/>', ("p", "v")),
        (
            '<position joint="knee"/><velocity joint="knee"/><motor joint="rail"/>',
            ("actuator_0", "actuator_1", "rail"),
        ),
        ('<motor name="pull" tendon="cable"/><motor tendon="cable"/>', ("pull", "actuator_1")),
        ('<motor name="x" joint="hip" gear="1 0 0"/><motor name="y" joint="hip" gear="0 1 0"/>', ("x", "y")),
        ('<motor name="m" joint="knee"/><motor name="knee" tendon="cable"/>', ("m", "knee")),
    ],
    ids=["joint", "in parent", "two on one joint", "without a name", "tendon", "ball", "a name used twice"],
)
def test_actuators_are_named_by_the_joint_that_they_alone_drive(actuators, names):
    assert names_of(actuators) == names


def test_state_entries_of_every_kind_of_joint():
    model = mujoco.MjModel.from_xml_string(ROBOT.format(actuators=""))
    positions = [(name, unit) for name, _, unit in position_entries(model)]
    velocities = [(name, unit) for name, _, unit in velocity_entries(model)]
    assert positions == [
        *((f"position:root.{axis}", "m") for axis in "xyz"),
        *((f"orientation:root.{part}", "") for part in "wxyz"),
        *((f"orientation:hip.{part}", "") for part in "wxyz"),
        ("position:knee", "rad"),
        ("position:rail", "m"),
        ("position:joint_4", "rad"),
    ]
    assert velocities == [
        *((f"velocity:root.{axis}", "m/s") for axis in "xyz"),
        *((f"angular_velocity:root.{axis}", "rad/s") for axis in "xyz"),
        *((f"angular_velocity:hip.{axis}", "rad/s") for axis in "xyz"),
        ("velocity:knee", "rad/s"),
        ("velocity:rail", "m/s"),
        ("velocity:joint_4", "rad/s"),
    ]
    assert (len(positions), len(velocities)) == (model.nq, model.nv)


PART = {"x": 0, "y": 1, "z": 2, "w": 3}
"""Component of the free joint of Ant and the humanoids, by the name that a field gives it."""


def measured(data, field):
    """Return the value that MuJoCo's look-up by name gives for an observation field, and None for blocks."""
    quantity, _, joint = field.name.partition(":")
    joint, _, part = joint.partition(".")
    if quantity in ("cos", "sin"):
        return getattr(np, quantity)(data.joint(joint).qpos)
    if quantity == "orientation":
        return data.joint(joint).qpos[3 + "wxyz".index(part)]
    if quantity == "position":
        return data.joint(joint).qpos[PART.get(part, 0)]
    if quantity == "velocity":
        return data.joint(joint).qvel[PART.get(part, 0)]
    if quantity == "angular_velocity":
        return data.joint(joint).qvel[3 + PART[part]]
    if quantity == "clipped_velocity":
        return np.clip(data.joint(joint).qvel[0], -10.0, 10.0)
    if quantity == "clipped_constraint_force":
        return np.clip(data.joint(joint).qfrc_constraint[0], -10.0, 10.0)
    if quantity == "target_to_fingertip":
        return (data.body("fingertip").xpos - data.body("target").xpos)[:2]
    if quantity in ("tips_arm", "object", "goal"):
        return data.body(quantity).xpos
    return None


NAMED = {
    "HalfCheetah-v5": 17,
    "Hopper-v5": 11,
    "Walker2d-v5": 17,
    "Swimmer-v5": 8,
    "Ant-v5": 27,
    "Humanoid-v5": 45,
    "HumanoidStandup-v5": 45,
    "InvertedPendulum-v5": 4,
    "InvertedDoublePendulum-v5": 9,
    "Reacher-v5": 10,
    "Pusher-v5": 23,
}
"""How many entries of an observation have a name of their own; the others are blocks of MuJoCo's arrays."""


@pytest.mark.parametrize("task_id", NAMED)
def test_every_named_entry_is_what_its_name_says(task_id):
    env = from_gymnasium.build(TaskConfig("gymnasium", task_id), None)
    spec = from_gymnasium.describe(env, TaskConfig("gymnasium", task_id))
    env.reset(seed=0)
    data, model = env.unwrapped.data, env.unwrapped.model
    env.action_space.seed(0)
    checked = set()
    for _ in range(15):
        observation = env.step(env.action_space.sample())[0]
        for field in spec.observation:
            expected = measured(data, field)
            if expected is not None:
                checked.update(range(field.start, field.stop))
                np.testing.assert_array_equal(
                    observation[field.start : field.stop], expected, err_msg=field.name
                )
            if field.name.startswith("position:") and "." not in field.name:
                slide = (
                    model.joint(field.name.removeprefix("position:")).type[0] == mujoco.mjtJoint.mjJNT_SLIDE
                )
                assert field.unit == ("m" if slide else "rad")
    assert len(checked) == NAMED[task_id]
    assert spec.observation_size == observation.size
    np.testing.assert_array_equal(spec.bounds.low, model.actuator_ctrlrange[:, 0])
    np.testing.assert_array_equal(spec.bounds.high, model.actuator_ctrlrange[:, 1])
    env.close()


def test_what_a_spec_says():
    task = make_task(TaskConfig("gymnasium", "HalfCheetah-v5", action_repeat=3), 1, 0)
    spec = task.spec
    assert spec.id == "gymnasium/HalfCheetah-v5"
    assert spec.bounds.names == ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
    assert (spec.control_dt, spec.frame_skip, spec.action_repeat) == (pytest.approx(0.15), 5, 3)
    assert spec.time_limit == 1000
    assert [name for name, _ in spec.versions] == ["gymnasium", "mujoco"]
    assert TaskSpec.from_dict(spec.to_dict()) == spec
    task.close()


def test_an_id_without_mujoco():
    spec = make_task(TaskConfig("gymnasium", "Pendulum-v1"), 1, 0).spec
    assert spec.bounds.to_dict() == {"names": ["action_0"], "low": [-2.0], "high": [2.0]}
    assert (spec.control_dt, spec.frame_skip, spec.time_limit) == (0.05, 1, 200)
    assert [(f.name, f.stop) for f in spec.observation] == [("observation", 3)]
    assert [name for name, _ in spec.versions] == ["gymnasium"]


def test_time_limits_and_frame_rates_of_other_environments():
    config = TaskConfig("gymnasium", "Spaces-v0", {"max_episode_steps": 12})
    spec = make_task(config, 1, 0).spec
    assert (spec.time_limit, spec.control_dt) == (12, 1 / 50)
    assert make_task(TaskConfig("gymnasium", "Spaces-v0"), 1, 0).spec.time_limit == 0


def test_a_robot_of_ones_own_is_read_from_its_model():
    config = TaskConfig("gymnasium", "scripted_envs:Arm-v0", bounds={"shoulder": [-0.5, 0.2]})
    task = make_task(config, 1, 0)
    spec = task.spec
    assert spec.id == "gymnasium/scripted_envs:Arm-v0"
    assert spec.bounds.to_dict() == {"names": ["shoulder", "reach"], "low": [-0.5, -3.0], "high": [0.2, 3.0]}
    assert [(f.name, f.unit) for f in spec.observation] == [
        ("position:shoulder", "rad"),
        ("position:reach", "m"),
        ("velocity:shoulder", "rad/s"),
        ("velocity:reach", "m/s"),
    ]
    assert (spec.control_dt, spec.frame_skip, spec.time_limit) == (pytest.approx(0.05), 5, 40)
    task.reset()
    task.step(torch.as_tensor(np.array([[-1.5, 3.0]])))
    np.testing.assert_array_equal(scripted_envs.ArmEnv.made[-1].data.ctrl, [-0.5, 3.0])
    task.close()


def test_wrapped_actions_do_not_get_the_models_names():
    config = TaskConfig("gymnasium", "Arm-v0")
    env = RescaleAction(from_gymnasium.build(config, None), np.float32(-1.0), np.float32(1.0))
    spec = from_gymnasium.describe(env, config)
    assert spec.bounds.to_dict() == {"names": ["action_0", "action_1"], "low": [-1.0] * 2, "high": [1.0] * 2}
    assert [f.name for f in spec.observation] == ["observation"]
    env.close()
