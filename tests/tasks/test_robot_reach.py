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
