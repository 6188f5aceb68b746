"""What a file is made for: kind, gear, gain, limits and unit of the actuators, and the home pose."""

import dataclasses
import hashlib
from pathlib import Path

import mujoco
import pytest

from acer_robot.errors import InputError
from acer_robot.robot_description import RobotDescription, check_robot
from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds, check_same_robot, rest_command
from acer_robot.tasks import make_task
from acer_robot.tasks.model.actuators import describe_robot, model_digest

ROBOT = """
<mujoco>
  <worldbody>
    <body><joint name="hip" type="hinge"/><geom size="0.1"/>
      <body><joint name="rail" type="slide"/><geom size="0.1"/></body>
    </body>
  </worldbody>
  <actuator>{actuators}</actuator>
  <keyframe><key name="{key}" qpos="0.4 9"/></keyframe>
</mujoco>
"""
POSITIONS = '<position joint="hip" kp="30" kv="2" forcerange="-5 6"/><position joint="rail" kp="7"/>'
BOUNDS = ActionBounds(("hip", "rail"), (-1.0, -2.0), (1.0, 2.0))


def robot(actuators, key="home"):
    model = mujoco.MjModel.from_xml_string(ROBOT.format(actuators=actuators, key=key))
    return describe_robot(model, BOUNDS, None)


def test_position_actuators():
    hip, rail = robot(POSITIONS).actuators
    assert (hip.kind, hip.unit, hip.gain[0], hip.bias, hip.force_limit) == (
        "position",
        "rad",
        30.0,
        (0.0, -30.0, -2.0),
        (-5.0, 6.0),
    )
    assert (rail.kind, rail.unit, rail.force_limit) == ("position", "m", None)


@pytest.mark.parametrize(
    ("forces", "gear", "expected"),
    [
        ("", 1, (-6.0, 8.0)),
        ("", -2, (-4.0, 3.0)),
        ('forcerange="-5 9"', 1, (-5.0, 8.0)),
        ('forcerange="-9 2"', 2, (-3.0, 2.0)),
    ],
)
def test_force_limit_is_the_tighter_of_actuator_and_joint(forces, gear, expected):
    actuators = f'<motor joint="hip" gear="{gear}" {forces}/><motor joint="rail"/>'
    xml = ROBOT.format(actuators=actuators, key="home")
    xml = xml.replace('name="hip"', 'name="hip" actuatorfrcrange="-6 8"')
    found = describe_robot(mujoco.MjModel.from_xml_string(xml), BOUNDS, None).actuators
    assert [actuator.force_limit for actuator in found] == [expected, None]


@pytest.mark.parametrize(
    ("actuator", "kind", "unit", "gear"),
    [
        ("<motor {} gear='4'/>", "motor", ("N m", "N"), 4.0),
        ("<velocity {} kv='3'/>", "velocity", ("rad/s", "m/s"), 1.0),
        ("<general {} gainprm='2' biastype='affine' biasprm='1 0 0'/>", "general", ("", ""), 1.0),
        ("<intvelocity {} kp='3' actrange='-1 1'/>", "general", ("", ""), 1.0),
        ("<damper {} kv='3' ctrlrange='0 1'/>", "general", ("", ""), 1.0),
    ],
)
def test_kinds(actuator, kind, unit, gear):
    both = "".join(actuator.format(f"joint='{joint}'") for joint in ("hip", "rail"))
    found = robot(both)
    assert [(a.kind, a.unit, a.gear) for a in found.actuators] == [
        (kind, unit[0], gear),
        (kind, unit[1], gear),
    ]
    assert found.home is None


def test_home_pose_is_the_keyframe_within_the_bounds():
    assert robot(POSITIONS).home == (0.4, 2.0)
    assert robot(POSITIONS, key="other").home == (0.0, 0.0)  # the pose in which the model is written


def test_description_survives_json():
    found = robot(POSITIONS)
    assert RobotDescription.from_dict(dataclasses.asdict(found)) == found
    assert RobotDescription.from_dict(found.to_dict()) == dataclasses.replace(found, home=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "motor"}, "joint 'hip': the robot has kind motor, but the file was made for position"),
        ({"gear": 2.0}, "joint 'hip': the robot has gear 2.0, but the file was made for 1.0"),
        ({"gain": [31.0, 0.0, 0.0]}, r"joint 'hip': the robot has gain \[31.0, 0.0, 0.0\]"),
        (
            {"force_limit": None},
            r"the robot has force_limit None, but the file was made for \[-5.0, 6.0\]",
        ),
        ({"joint": "knee"}, "the robot has the actuators knee, rail, but the file was made for hip, rail"),
    ],
)
def test_another_robot_is_refused_by_entry(changes, message):
    file, here = robot(POSITIONS).to_dict(), robot(POSITIONS).to_dict()
    check_robot(file, here, "the robot")
    here["actuators"][0] = here["actuators"][0] | changes
    with pytest.raises(InputError, match=message):
        check_robot(file, here, "the robot")


@pytest.mark.parametrize(
    ("actuators", "message"),
    [
        ("x", "the robot has the actuators 'x'; expected a list of dictionaries"),
        (5, "the robot has the actuators 5; expected a list"),
        ([5], "the robot has the actuator 5; expected a dictionary with 'joint': NAME"),
        ([{"kind": "motor"}], "expected a dictionary with 'joint': NAME"),
        ([{"joint": "hip", "geer": 5}], "the actuator 'hip' with 'geer'; it may have joint, kind, gear"),
    ],
)
def test_a_description_that_is_none_is_refused(actuators, message):
    with pytest.raises(InputError, match=message):
        check_robot(robot(POSITIONS).to_dict(), {"actuators": actuators}, "the robot")


def test_another_model_file_is_refused():
    file = robot(POSITIONS).to_dict()
    check_robot(file | {"model_sha256": "a"}, file, "the robot")  # nothing to compare
    with pytest.raises(InputError, match="the robot has the model_sha256 b, but the file was made for a"):
        check_robot(file | {"model_sha256": "a"}, file | {"model_sha256": "b"}, "the robot")


def test_digest_of_a_model_has_the_files_that_it_includes(tmp_path):
    (tmp_path / "parts").mkdir()
    scene, arm, hand = tmp_path / "scene.xml", tmp_path / "parts/arm.xml", tmp_path / "parts/hand.xml"
    scene.write_text('<mujoco><include file="parts/arm.xml"/></mujoco>')
    body = '<body><!-- -- <include file="old.xml"/> -- --><include\n file = "hand.xml"/></body>'
    arm.write_text(f"<mujoco><worldbody>{body}</worldbody></mujoco>")
    hand.write_text('<mujocoinclude><geom size="0.1" mass="1"/></mujocoinclude>')
    mujoco.MjModel.from_xml_path(str(scene))
    before = model_digest(scene)
    (tmp_path / "old.xml").write_text("<mujocoinclude/>")
    assert model_digest(scene) == before, "a comment includes nothing"
    hand.write_text('<mujocoinclude><geom size="0.1" mass="3"/></mujocoinclude>')
    assert model_digest(scene) != before
    assert model_digest(hand) == hashlib.sha256(hand.read_bytes()).hexdigest()


def test_a_task_describes_its_robot():
    task = make_task(TaskConfig("gymnasium", "InvertedPendulum-v5"), 1, 0)
    spec = task.spec
    task.close()
    (actuator,) = spec.robot.actuators
    assert (actuator.joint, actuator.kind, actuator.unit, actuator.gear) == ("slider", "motor", "N", 100.0)
    import gymnasium

    xml = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "inverted_pendulum.xml"
    assert spec.robot.model_sha256 == hashlib.sha256(xml.read_bytes()).hexdigest()
    stronger = dataclasses.replace(actuator, gear=120.0)
    other = dataclasses.replace(spec, robot=dataclasses.replace(spec.robot, actuators=(stronger,)))
    with pytest.raises(InputError, match=r"joint 'slider': the task here has gear 120.0"):
        check_same_robot(spec, other)
    check_same_robot(dataclasses.replace(spec, robot=None), other)  # an older file


def test_rest_is_the_home_pose_or_the_fallback():
    from exported import make_run

    spec = dataclasses.replace(make_run().spec, bounds=BOUNDS)
    assert rest_command(spec).tolist() == [0.0, 0.0]
    spec = dataclasses.replace(spec, robot=robot(POSITIONS))
    assert rest_command(spec, {"rail": 0.5}).tolist() == pytest.approx([0.4, 0.5])
    with pytest.raises(InputError, match=r"rest of joint 'rail' is 2.5, outside its bounds \[-2, 2\]"):
        rest_command(spec, {"rail": 2.5})
    with pytest.raises(InputError, match="rest names joint 'toe'"):
        rest_command(spec, {"toe": 0.0})
