"""Reaching: an arm's site and the place to bring it to."""

import pytest
import torch
from robots import ARM, arm_config, walker_config

from acer_robot.errors import InputError
from acer_robot.tasks import make_task
from acer_robot.tasks.robot.build import build_robot
from acer_robot.tasks.robot.reach import find_site, reach_task, reachable
from acer_robot.tasks.tensor.task import State


def test_arm_reaches_with_a_pose_that_has_the_place(tmp_path):
    """Commands of a pose bring the site to where it is in that pose, and that is worth about 1 a step."""
    config = arm_config(tmp_path, kwargs={"site": "tip", "redraw_seconds": 1e5, "start_angle": 0})
    task = make_task(config, 1, 3)
    observation = task.reset()[0]
    at = {field.name: field.start for field in task.spec.observation}
    target = observation[[at[f"command:{axis}"] for axis in "xyz"]]
    pose = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)

    def tip(pose):  # radius and height of the tip, of links of 0.3 m and 0.24 m above 0.12 m
        turn, lift, bend = pose[0]
        radius = 0.3 * lift.sin() + 0.24 * (lift + bend).sin()
        height = 0.12 + 0.3 * lift.cos() + 0.24 * (lift + bend).cos()
        return torch.stack([radius * turn.cos(), radius * turn.sin(), height])

    search = torch.optim.Adam([pose], lr=0.03)
    for _ in range(400):
        search.zero_grad()
        (tip(pose) - target).square().sum().backward()
        search.step()
    assert (tip(pose) - target).norm() < 0.02
    for _ in range(40):
        result = task.step(pose.detach())
    assert float(result.rewards) > 0.7
    names = [f"site:tip.{axis}" for axis in "xyz"]
    place = result.observations[0, [at[name] for name in names]]
    assert (place - target).norm() < 0.04
    task.close()


def test_nearer_pays_more(tmp_path):
    task = reach_task(arm_config(tmp_path))
    random = torch.Generator().manual_seed(0)
    memory = task.begin(2, random)
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    place = memory["target"].clone()
    place[1, 0] += 0.05
    state = State(
        {"qpos": zeros, "qvel": zeros, "site_xpos": place[:, None], "actuator_force": zeros}, memory
    )
    assert task.reward(state, zeros, state)["distance"].tolist() == pytest.approx([1.0, 0.5])


def test_effort_counts_what_the_joints_let_through(tmp_path):
    path = tmp_path / "limited.xml"
    path.write_text(ARM.replace("<joint ", '<joint actuatorfrcrange="-2 2" '))
    task = reach_task(arm_config(tmp_path, model=str(path)))
    memory = task.begin(1, torch.Generator())
    zeros = torch.zeros(1, 3, dtype=torch.float64)
    state = State(
        {"qpos": zeros, "qvel": zeros, "site_xpos": zeros[:, None], "actuator_force": zeros + 9.0}, memory
    )
    assert float(task.reward(state, zeros, state)["effort"]) == pytest.approx(-0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kwargs": {}},
            "needs the name of the end-effector's site, and '' is none: the model has the sites tip",
        ),
        (
            {"kwargs": {"site": "hand"}},
            "'hand' is none: the model has the sites tip; give task.kwargs={site: NAME}",
        ),
        ({"kwargs": {"site": 3}}, "task.kwargs has site, which is 3; expected a name"),
        ({"velocity": [1, 0, 0]}, "task.velocity=[1, 0, 0] is for velocity tracking"),
        ({"actuators": {}}, "the model has no actuators"),
    ],
)
def test_unusable_arms_are_named(tmp_path, options, message):
    with pytest.raises(InputError) as error:
        make_task(arm_config(tmp_path, **options), 1, 0)
    assert message in str(error.value)


def test_arm_that_always_touches_is_refused(tmp_path):
    (tmp_path / "touching.xml").write_text(ARM.replace('pos="0 0 .06"', 'pos="0 0 0"'))
    with pytest.raises(InputError, match="touches something in each of"):
        make_task(arm_config(tmp_path, model=str(tmp_path / "touching.xml")), 1, 0)


FINGERS = """<body name="left" pos="0 0 .3"><joint name="l" type="slide" range="0 .1"/><geom size=".01"/></body>
<body name="right" pos="0 0 .4"><joint name="r" type="slide" range="0 .1"/><geom size=".01"/></body></body></body>"""
HELD = """<body name="held" pos="3 0 2"><freejoint/><geom size=".01"/></body>
<body name="hook" mocap="true"/><site name="peg"/>
<body name="rod" pos="3 0 3"><joint name="rod" axis="0 1 0"/><geom size=".01"/></body></worldbody>"""
TENDONS = """<tendon><fixed name="fixed"><joint joint="bend" coef="1"/></fixed>
<spatial name="cable"><site site="tip"/><site site="peg"/></spatial></tendon>"""


def coupled(tmp_path, equality):
    """Write the arm with two fingers, a loose object and an equality, and return the options of its task."""
    path = tmp_path / "coupled.xml"
    xml = ARM.replace("</body></body>", FINGERS, 1).replace("</worldbody>", HELD)
    path.write_text(xml.replace("</mujoco>", f"{TENDONS}<equality><{equality}/></equality></mujoco>"))
    return arm_config(tmp_path, model=str(path), actuators={"turn|lift|bend|l": {"kp": 40, "scale": 0.1}})


@pytest.mark.parametrize(
    "equality",
    [
        'joint joint1="bend" joint2="lift" polycoef="0 -1 0 0 0"',
        'joint joint1="r" joint2="bend"',
        'joint joint1="bend"',
        'connect body1="lower" body2="base" anchor="0 0 0"',
        'weld body1="left"',
        'weld body1="lower" body2="hook"',
        'connect body1="rod" body2="lower" anchor="0 0 0"',
        'tendon tendon1="fixed"',
        'tendon tendon1="cable"',
    ],
)
def test_equality_that_moves_the_site_is_refused(tmp_path, equality):
    message = "equality 0 of the file couples joint '(bend|turn|lift)', which moves the site 'tip'"
    with pytest.raises(InputError, match=message):
        reach_task(coupled(tmp_path, equality))
    reach_task(coupled(tmp_path, equality + ' active="false"'))


@pytest.mark.parametrize(
    "equality",
    [
        'joint joint1="r" joint2="l"',
        'connect body1="left" body2="right" anchor="0 0 0"',
        'weld body1="lower" body2="held"',
        'weld body1="held"',
    ],
)
def test_equality_that_leaves_the_site_alone_is_taken(tmp_path, equality):
    assert reach_task(coupled(tmp_path, equality)).model.eq_active0.tolist() == [1]


BOX = (
    """<body name="box" pos="{} 0 .1499"><freejoint/><geom type="box" size=".06 .06 .15" mass=".1"/></body>"""
)


def test_only_contacts_of_the_arm_count(tmp_path):
    """A box that rests on the floor is never without contact; it takes those places alone where the arm touches it."""
    inside = []
    for x in (2.0, 0.3):
        path = tmp_path / "box.xml"
        path.write_text(ARM.replace("<worldbody>", "<worldbody>" + BOX.format(x)))
        wide = {".*": {"kp": 40, "scale": 2}, "turn": {"kp": 40, "scale": 0.2}}
        robot = build_robot(arm_config(tmp_path, model=str(path), actuators=wide))
        places = reachable(robot, find_site(robot.model, "tip"))
        inside.append((abs(places - [0.3, 0, 0.15]) < [0.06, 0.06, 0.15]).all(axis=1).sum())
    assert inside[0] > 10
    assert inside[1] == 0


def test_options_of_robots_are_refused_elsewhere(tmp_path):
    config = walker_config(tmp_path, suite="gymnasium", id="HalfCheetah-v5", actuators={}, model="pup")
    with pytest.raises(InputError, match=r"task\.model='pup' is an option of task=robot"):
        make_task(config, 1, 0)
