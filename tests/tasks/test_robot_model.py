"""A robot from an MJCF file: what is added to it, what its commands are, and which files and options are refused."""

import sys

import mujoco
import numpy as np
import pytest
import torch
from robots import pup_config, walker, walker_config

from acer_robot.errors import InputError
from acer_robot.tasks import absolute_files, make_task
from acer_robot.tasks.model.moving_body import free_joint, moving_body, robot_body
from acer_robot.tasks.robot.build import build_robot
from acer_robot.tasks.robot.home import distance_to_floor
from acer_robot.tasks.robot.layout import command_fields
from acer_robot.tasks.robot.reach import joint_limits
from acer_robot.tasks.robot.scene import floor_of

MOTORS = """<actuator><motor name="old" joint="left_hip" ctrlrange="-3 3"/>
<motor name="other" joint="right_hip" gear="2" ctrlrange="-4 4"/></actuator>"""
KEY = '<keyframe><key name="x" qpos="0 0 .9 1 0 0 0 .1 .2" ctrl="1 1"/></keyframe>'


def test_floor_light_actuators_and_feet_are_added(tmp_path):
    robot = build_robot(walker_config(tmp_path, home={".*": 0.1}), legged=True)
    model = robot.model
    assert model.geom("floor").type == [0]
    assert model.nlight == 1
    assert robot.actuators.joints == ("left_hip", "right_hip")
    np.testing.assert_allclose(robot.bounds.low, [-0.3, -0.3])
    np.testing.assert_allclose(robot.bounds.high, [0.5, 0.5])
    assert robot.bounds.rest == (0.1, 0.1)
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], 20.0)
    np.testing.assert_allclose(model.actuator_biasprm[:, 1:3], [[-20.0, -0.5]] * 2)
    np.testing.assert_allclose(model.actuator_forcerange, [[-5.0, 5.0]] * 2)
    assert len(robot.feet) == 2
    assert abs(distance_to_floor(model, np.array(robot.home), floor_of(model))) < 1e-6


def test_actuators_replace_the_files_on_their_joints_alone(tmp_path):
    xml = walker(extra=MOTORS + KEY)
    robot = build_robot(
        walker_config(tmp_path, xml, actuators={"left.*": {"kp": 9, "effort": 5, "scale": 0.2}})
    )
    assert robot.actuators.joints == ("right_hip", "left_hip")
    assert robot.actuators.is_target == (False, True)
    np.testing.assert_allclose(robot.bounds.high, [4.0, 0.3])
    assert robot.bounds.rest == (0.0, 0.1)
    assert robot.home[2] == 0.9  # the keyframe's, as task.home is empty


def test_sensors_of_replaced_actuators_measure_the_new_ones(tmp_path):
    pair = '<position name="p" joint="left_hip" kp="3"/><velocity name="v" joint="left_hip" kv="1"/>'
    sensors = '<actuatorfrc name="f" actuator="p"/><actuatorpos name="q" actuator="v"/>'
    listed = '<tuple name="all"><element objtype="actuator" objname="p"/></tuple>'
    extra = f"<actuator>{pair}</actuator><sensor>{sensors}</sensor><custom>{listed}</custom>"
    robot = build_robot(walker_config(tmp_path, walker(extra=extra)))
    assert [robot.model.sensor(name).objid[0] for name in "fq"] == [0, 0]
    assert robot.actuators.joints == ("left_hip", "right_hip")


def test_torques_and_scale_alone(tmp_path):
    xml = walker(extra=MOTORS)
    robot = build_robot(walker_config(tmp_path, xml, actuators={".*": {"scale": 1.5}}))
    assert robot.bounds.high == (1.5, 1.5)
    robot = build_robot(walker_config(tmp_path, actuators={".*": {"effort": 7}}))
    assert robot.bounds.low == (-7.0, -7.0)
    assert robot.bounds.rest == (0.0, 0.0)


DEFAULTS = """<default><general ctrllimited="true" ctrlrange="-.1 .1" forcelimited="true" forcerange="-1 1"
actlimited="true" actrange="-.2 .2" dyntype="filter" gainprm="3" biasprm="1 1 1" damping="2" armature="4"/></default>"""


def test_new_actuators_have_no_defaults_of_the_file(tmp_path):
    xml = walker(extra=DEFAULTS)
    wanted = {"left.*": {"kp": 20, "scale": 0.4}, "right.*": {"effort": 7}}
    robots = [build_robot(walker_config(tmp_path, file, actuators=wanted)) for file in (xml, walker())]
    assert robots[0].bounds == robots[1].bounds
    assert robots[0].bounds.high == (0.4, 7.0)
    assert robots[0].model.actuator_forcelimited.tolist() == [0, 1]
    for name in (name for name in dir(robots[0].model) if name.startswith(("actuator_", "dof_"))):
        np.testing.assert_array_equal(*(getattr(robot.model, name) for robot in robots), err_msg=name)


@pytest.mark.parametrize("entry", [{}, {"scale": 1.5}, {"effort": 3}, {"kp": 9, "kd": 1, "scale": 0.4}])
def test_armature_is_set_whichever_actuator_drives(tmp_path, entry):
    xml = walker(extra=MOTORS)
    robot = build_robot(walker_config(tmp_path, xml, actuators={"left.*": {"armature": 0.02, **entry}}))
    assert robot.model.dof_armature[-2:].tolist() == [0.02, 0.0]


def test_effort_counts_the_larger_limit_of_a_force(tmp_path):
    forces = '<motor joint="left_hip" ctrlrange="-6 0" forcerange="-6 0"/>'
    xml = walker(extra=f'<actuator>{forces}<motor joint="right_hip" forcerange="-2 3"/></actuator>')
    assert build_robot(walker_config(tmp_path, xml, actuators={})).efforts.tolist() == [6.0, 3.0]


def test_effort_counts_the_force_that_the_joint_lets_through(tmp_path):
    xml = walker(extra='<actuator><motor joint="left_hip" gear="-2"/><motor joint="right_hip"/></actuator>')
    xml = xml.replace('name="left_hip"', 'name="left_hip" actuatorfrcrange="-4 6"')
    robot = build_robot(walker_config(tmp_path, xml, actuators={".*": {"scale": 9}}))
    weight = 0.1 * 2.4 * 9.81
    assert robot.efforts.tolist() == pytest.approx([3.0, weight])
    shares = robot.effort_shares(torch.tensor([[-9.0, -weight], [1.5, 0.5 * weight], [9.0, 2 * weight]]))
    assert shares.tolist() == [pytest.approx(row) for row in ([-1, -1], [0.5, 0.5], [2 / 3, 2])]


BALL = """<body name="ball" pos="3 0 .1"><freejoint/><geom name="ball" size=".1"/></body>"""


def test_base_is_the_robots_and_not_that_of_a_loose_ball(tmp_path):
    xml = walker().replace("<worldbody>", f"<worldbody>{BALL}")
    robot = build_robot(walker_config(tmp_path, xml, home={".*": 0.1}), legged=True)
    assert robot.model.jnt_bodyid[free_joint(robot.model)] == robot.model.body("trunk").id
    assert moving_body(robot.model) == robot.model.body("trunk").id
    assert robot.foot_names == ("left_foot", "right_foot")
    alone = build_robot(walker_config(tmp_path, home={".*": 0.1}), legged=True)
    assert robot.home[7:] == pytest.approx(alone.home)
    task = make_task(walker_config(tmp_path, xml, push={"speed": 1}), 1, 0)
    names = [field.name for field in task.spec.observation]
    assert "gravity:trunk.z" in names
    result = task.step(task.reset()[:, :2] * 0)
    assert not bool(result.terminated)
    task.close()


def test_a_loose_ball_is_no_base_of_a_fixed_robot(tmp_path):
    xml = walker(free=False).replace("<worldbody>", f"<worldbody>{BALL}")
    model = build_robot(walker_config(tmp_path, xml)).model
    assert free_joint(model) is None
    assert robot_body(model) is None
    assert moving_body(model) == model.body("ball").id  # the camera follows it
    drone = f"<mujoco><worldbody>{BALL}</worldbody></mujoco>"  # no actuator on a joint
    model = mujoco.MjModel.from_xml_string(drone)
    assert (free_joint(model), robot_body(model)) == (0, 1)


def test_positions_are_commanded_through_the_gear(tmp_path):
    geared = '<position joint="left_hip" kp="9" gear="2"/><position joint="right_hip" kp="9" gear="-3"/>'
    xml = walker(extra=f"<actuator>{geared}</actuator>")
    robot = build_robot(walker_config(tmp_path, xml, home={".*": 0.1}, actuators={".*": {"scale": 0.2}}))
    np.testing.assert_allclose(robot.bounds.low, [-0.2, -0.9])  # joints from -0.1 to 0.3
    np.testing.assert_allclose(robot.bounds.high, [0.6, 0.3])
    np.testing.assert_allclose(robot.bounds.rest, [0.2, -0.3])
    np.testing.assert_allclose(joint_limits(robot), [[-0.1] * 2, [0.3] * 2])
    free = build_robot(walker_config(tmp_path, xml, home={".*": 0.1}, actuators={}))
    np.testing.assert_allclose(free.bounds.high, np.array([2, 3]) * np.pi / 3)
    data = mujoco.MjData(robot.model)
    data.ctrl[:] = robot.bounds.rest
    data.qpos[:] = robot.home
    mujoco.mj_forward(robot.model, data)
    np.testing.assert_allclose(data.actuator_force, 0.0, atol=1e-12)


SERVO = '<general joint="left_hip" gear="2" biastype="affine" gainprm=".2" biasprm="4 -20 -1"/>'


def test_general_servos_are_commanded_in_their_unit(tmp_path):
    """Such as a gripper of 0 to 255: force = 0.2 command + 4 - 20 gear position - velocity."""
    other = '<position joint="right_hip" kp="9"/>'
    xml = walker(extra=f"<actuator>{SERVO}{other}</actuator>")
    robot = build_robot(walker_config(tmp_path, xml, home={".*": 0.1}, actuators={".*": {"scale": 0.2}}))
    np.testing.assert_allclose(robot.bounds.low, [-40, -0.1])
    np.testing.assert_allclose(robot.bounds.high, [40, 0.3])
    np.testing.assert_allclose(robot.bounds.rest, [0, 0.1], atol=1e-12)
    np.testing.assert_allclose(joint_limits(robot), [[-0.1] * 2, [0.3] * 2])
    units = {name: unit for name, unit, _ in command_fields(robot)}
    assert units == {"last_command:left_hip": "", "last_command:right_hip": "rad"}
    free = build_robot(walker_config(tmp_path, xml, home={".*": 0.3}, actuators={}))
    np.testing.assert_allclose(free.bounds.high[0], 200 * np.pi / 3 - 20)
    data = mujoco.MjData(free.model)
    data.ctrl[:], data.qpos[:] = free.bounds.rest, free.home
    mujoco.mj_forward(free.model, data)
    np.testing.assert_allclose(data.actuator_force, 0.0, atol=1e-12)


def test_last_expression_that_matches_counts(tmp_path):
    wanted = {".*": {"kp": 20, "scale": 0.4}, "left.*": {"kp": 7, "scale": 0.2}}
    robot = build_robot(walker_config(tmp_path, actuators=wanted))
    assert robot.model.actuator_gainprm[:, 0].tolist() == [7.0, 20.0]


def test_joint_range_in_degrees_limits_targets(tmp_path):
    wanted = {".*": {"kp": 20, "scale": 3}}
    robot = build_robot(walker_config(tmp_path, actuators=wanted))
    np.testing.assert_allclose(robot.bounds.high, [np.pi / 3] * 2)


def test_model_becomes_an_absolute_path(tmp_path, monkeypatch):
    walker_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = walker_config(tmp_path, model="walker.xml")
    assert absolute_files(config).model == str(tmp_path / "walker.xml")
    assert absolute_files(pup_config()).model == "pup"


POSITION = '<actuator><position name="p" joint="left_hip" kp="3"/></actuator>'
TENDON = """<tendon><fixed name="t"><joint joint="left_hip" coef="1"/></fixed></tendon>
<actuator><motor name="m" tendon="t"/></actuator>"""
TWO = (
    '<actuator><motor joint="left_hip" ctrlrange="0 1"/><motor joint="left_hip" ctrlrange="0 1"/></actuator>'
)
SECOND = """<worldbody><body name="other" pos="2 0 1"><freejoint/><geom size=".1"/><body><joint name="o_hip"/>
<geom name="o_foot" size=".05"/></body></body></worldbody>"""
SIDEWAYS = (
    walker()
    .replace('pos="0 0 1">', 'pos="0 0 1" quat="1 1 0 0">')
    .replace('<geom name="trunk"', '<frame quat="1 -1 0 0"><geom name="trunk"')
    .replace("</body></worldbody>", "</frame></body></worldbody>")
)
"""A walker that stands as the others do, in a trunk whose z-axis points sideways."""
PER_JOINT = "task.actuators of joint 'left_hip'"


@pytest.mark.parametrize(
    ("xml", "options", "message"),
    [
        (None, {"model": None}, "task.model must be given"),
        (None, {"model": "nothing.xml"}, "task.model='nothing.xml' is no file"),
        ("<mujoco><worldbody>", {}, "cannot be read as MJCF"),
        ("<mujoco><asset><mesh name='a' file='no.stl'/></asset></mujoco>", {}, "cannot be compiled"),
        (None, {"actuators": {}}, "the model has no actuators; give them: task.actuators={.*"),
        (None, {"actuators": {"knee": {"kp": 1}}}, "matches no joint; the model has left_hip, right_hip"),
        (None, {"actuators": {"(": {"kp": 1}}}, "which is no regular expression"),
        (None, {"actuators": {".*": 3}}, f"{PER_JOINT} is 3; expected names and numbers"),
        (None, {"actuators": {".*": {"k": 1}}}, f"{PER_JOINT} has 'k', which is not known; it takes kp, kd"),
        (None, {"actuators": {".*": {"kd": 1, "effort": 2}}}, f"{PER_JOINT} has kd=1 without kp"),
        (None, {"actuators": {".*": {"kp": "a"}}}, f"kp in {PER_JOINT} is 'a'; expected a number"),
        (None, {"actuators": {".*": {"kp": float("nan")}}}, "is nan; expected a number"),
        (None, {"actuators": {".*": {"kp": 0}}}, "is 0, so that the joint would not move"),
        (
            None,
            {"actuators": {".*": {"scale": 1}}},
            "has neither kp nor effort, and the file has no actuator",
        ),
        (
            walker(extra=f"<actuator>{SERVO}</actuator>".replace("gear", 'gaintype="affine" gear')),
            {"actuators": {}},
            "the gain of its actuator is no constant above or below 0; give it another: task.actuators={left_hip: {kp",
        ),
        (walker(joint="slide"), {"actuators": {".*": {"kp": 3}}}, "have no finite limits; give them"),
        (walker(extra=TENDON), {"actuators": {}}, "the file's actuator 'm' drives no joint"),
        (walker(extra=TWO), {"actuators": {}}, "the joint 'left_hip' has two actuators"),
        (walker(named=False), {}, "in body 'left_leg', has no name"),
        (walker(joint="ball"), {}, "of body 'left_leg' is a ball joint"),
        (None, {"home": {"left.*": 2.0}}, "has joint 'left_hip' at 2, outside its range [-1.0472, 1.0472]"),
        (
            walker().replace('range="-60 60"', ""),
            {"home": {"left.*": 90}},
            "'left_hip' is 90, more than a turn of 6.28; give it in rad: task.home={left_hip: 1.57}",
        ),
        (None, {"home": {"knee": 2.0}}, "task.home has the key 'knee', which matches no joint"),
        (None, {"home": {".*": "up"}}, "task.home of joint 'left_hip' is 'up'"),
        (walker(free=False), {}, "the robot is fixed to the world"),
        (
            walker(free=False).replace("<worldbody>", "<worldbody>" + BALL),
            {},
            "the robot is fixed to the world",
        ),
        (
            walker(extra=SECOND),
            {},
            "the file has 2 robots with a free joint and actuators, trunk, other; leave one",
        ),
        (
            SIDEWAYS,
            {},
            "the z-axis of body 'trunk' is 90 degrees from the vertical in the home pose, and task.kwargs={tilt: 1} "
            "ends episodes above 57 degrees",
        ),
        (None, {"home": {"left.*": 1.0}, "kwargs": {"control_dt": 0.003}}, "no multiple of the physics step"),
        (None, {"kwargs": {"gait": 1}}, "task.kwargs names 'gait', which is not known"),
        (
            None,
            {"kwargs": {"MAY_BE_ZERO": 1}},
            "'MAY_BE_ZERO', which is not known; it takes control_dt, timestep",
        ),
        (
            None,
            {"kwargs": {"tilt": 4}},
            "task.kwargs has tilt, which is 4; expected a number from 1e-05 to 3.14159",
        ),
        (
            None,
            {"kwargs": {"start_angle": 6}},
            "start_angle, which is 6; expected a number from 0 to 3.14159",
        ),
        (None, {"kwargs": {"control_dt": 40}}, "control_dt, which is 40; expected a number from 1e-05 to 1"),
        (None, {"actuators": {5: {"kp": 1}}}, "task.actuators has the key 5; expected a name"),
        (None, {"kwargs": {"vx": [1, 0]}}, "an empty range"),
        (None, {"kwargs": {"vx": 1}}, "expected two numbers [low, high]"),
        (None, {"kwargs": {"seconds": 0}}, "expected a number from"),
        (None, {"reward": {"style": 1}}, "task.reward names 'style', which is no term; it takes velocity"),
        (None, {"reward": {"effort": -1}}, "task.reward of effort is -1; expected a number"),
        (None, {"velocity": [0.5]}, "task.velocity=[0.5] has 1 numbers; expected [vx, vy, yaw_rate]"),
        (None, {"velocity": [0.5, 0, float("nan")]}, "task.velocity is nan"),
        (None, {"id": "own-dance"}, "task.id='own-dance' of task.suite=robot is not known"),
        (None, {"backend": "cpu"}, "task.suite=robot needs task.backend=batch"),
        (None, {"action_repeat": 2}, "hold commands for more physics steps: task.kwargs={control_dt: 0.08}"),
    ],
)
def test_unusable_robots_are_named(tmp_path, xml, options, message):
    with pytest.raises(InputError) as error:
        make_task(walker_config(tmp_path, xml, **options), 1, 0)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_menagerie_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(InputError, match=r"pip install 'acer-robot\[robots\]'"):
        make_task(pup_config(model="menagerie:unitree_go1"), 1, 0)


class Menagerie:
    """What the package mujoco-menagerie offers."""

    MenagerieError = type("MenagerieError", (Exception,), {})
    UnknownRobotError = type("UnknownRobotError", (MenagerieError,), {})
    path = None

    def names(self):
        return ["a", "b"]

    def get(self, name):
        if name == "unknown":
            raise self.UnknownRobotError("Unknown robot 'unknown'.")
        return self

    default_model = "robot"

    def xml(self, entry):
        if self.path is None:
            raise self.MenagerieError("no network\nat all")
        assert entry == "robot"
        return self.path


def test_menagerie(monkeypatch, tmp_path):
    package = Menagerie()
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", package)
    with pytest.raises(InputError, match="cannot be downloaded: no network; connect to a network once"):
        build_robot(pup_config(model="menagerie:a"))
    with pytest.raises(InputError, match=r"Unknown robot 'unknown'\. The package has 2 robots"):
        build_robot(pup_config(model="menagerie:unknown"))
    package.path = walker_config(tmp_path).model
    assert build_robot(walker_config(tmp_path, model="menagerie:a")).bounds.names[0] == "left_hip"
