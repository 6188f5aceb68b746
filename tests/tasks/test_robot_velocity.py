"""Velocity tracking: what is observed, what pays, when a robot has fallen."""

import dataclasses
import math

import pytest
import torch
from robots import pup_config, walker, walker_config

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec, fallback_command
from acer_robot.tasks import make_task, with_velocity
from acer_robot.tasks.robot.rotation import gravity_direction, turned_back, yaw_alone
from acer_robot.tasks.robot.velocity import velocity_task
from acer_robot.tasks.tensor.task import State

FORWARD = [0.5, 0.0, 0.0]


@pytest.fixture(scope="module")
def pup():
    return velocity_task(pup_config(velocity=FORWARD))


def state(task, count=1, velocity=FORWARD, **fields):
    """Return pups in their home pose with these fields."""
    qpos = torch.tensor(task.model.key("home").qpos).repeat(count, 1)
    zeros = torch.zeros(count, task.model.nv, dtype=torch.float64)
    contacts = torch.ones(count, task.model.nsensordata, dtype=torch.float64)
    force = torch.zeros(count, task.model.nu, dtype=torch.float64)
    own = {"qpos": qpos, "qvel": zeros, "sensordata": contacts, "actuator_force": force} | fields
    memory = task.begin(count, torch.Generator())
    memory["velocity"] = torch.tensor(velocity, dtype=torch.float64).repeat(count, 1)
    return State(own, memory)


def rested(task, count=1):
    return torch.tensor(task.bounds.rest, dtype=torch.float64).repeat(count, 1)


def moved(task, x=0.0, y=0.0, yaw=0.0, facing=0.0):
    """Return a pup in its home pose, at a place and a heading."""
    qpos = torch.tensor(task.model.key("home").qpos)[None].clone()
    qpos[:, 0], qpos[:, 1], half = x, y, 0.5 * (facing + yaw)
    qpos[:, 3:7] = torch.tensor([math.cos(half), 0.0, 0.0, math.sin(half)])
    return state(task, qpos=qpos)


def test_walking_at_the_command_pays_best(pup):
    """Under a command of 0.5 m/s; the last 12 % of the speed are worth more than 0.07 a step, and standing 0.23."""

    def paid(speed, yaw_rate=0.0):
        after = moved(pup, x=0.04 * speed, yaw=0.04 * yaw_rate)
        return float(sum(pup.reward(state(pup), rested(pup), after).values()))

    kernel = 0.4 / (1.0 + (0.5 / 0.15) ** 2)
    assert paid(0.0) == pytest.approx(kernel + 0.15 + 0.05)
    assert paid(0.5) == pytest.approx(1.0)
    assert paid(0.44) < 0.93
    assert paid(0.4) < 0.81
    assert paid(0.6) == pytest.approx(paid(0.4))
    assert paid(0.0) - paid(-1.0) > 0.4
    assert paid(0.5) - paid(0.5, yaw_rate=0.5) == pytest.approx(0.075)  # half of the term


def test_velocity_counts_in_the_frame_of_the_trunk(pup):
    """A pup that faces y and runs along y follows vx; what counts is the displacement, not the velocity of a moment."""
    faces_y = {"facing": math.pi / 2}
    before, after = moved(pup, **faces_y), moved(pup, y=0.02, **faces_y)
    after.qvel[:, 0] = 3.0
    terms = pup.reward(before, rested(pup), after)
    assert float(terms["velocity"]) == pytest.approx(0.4)
    assert float(terms["progress"]) == pytest.approx(0.4)


def test_penalties(pup):
    before = state(pup)
    low = torch.tensor([pup.bounds.low], dtype=torch.float64)
    terms = pup.reward(before, low, state(pup, actuator_force=torch.full((1, 12), 3.0)))
    assert float(terms["command_rate"]) == pytest.approx(-0.05)  # half the range of each joint
    assert float(terms["effort"]) == pytest.approx(-0.05 * 0.25)
    qpos = torch.tensor(pup.model.key("home").qpos)[None].clone()
    qpos[:, 2] *= 0.8
    assert float(pup.reward(before, low, state(pup, qpos=qpos))["height"]) == pytest.approx(-0.04)


def test_steps_of_feet(pup):
    """A foot that lands after 0.3 s earns 0.5 (0.3 - 0.1); nothing where standing is commanded."""
    for velocity, reward in ((FORWARD, 0.1), ([0.0, 0.0, 0.0], 0.0)):
        before = state(pup, velocity=velocity)
        before.memory["air"][0, 1] = 0.3
        terms = pup.reward(before, rested(pup), state(pup))
        assert float(terms["air_time"]) == pytest.approx(reward)
    contacts = torch.ones(1, pup.model.nsensordata, dtype=torch.float64)
    contacts[0, 2] = 0.0
    before = state(pup, sensordata=contacts)
    before.memory["air"][:] = 0.2
    air = pup.remember(before, rested(pup), torch.Generator())["air"][0].tolist()
    assert sorted(air) == pytest.approx([0.0, 0.0, 0.0, 0.24])


def test_falls(pup):
    fallen = state(pup, count=3)
    fallen.qpos[1, 2] *= 0.4
    fallen.qpos[2, 3:7] = torch.tensor([math.cos(0.6), math.sin(0.6), 0.0, 0.0])  # rolled by 1.2 rad
    assert pup.terminated(fallen).tolist() == [False, True, True]


def test_height_counts_from_the_floor_of_the_file(tmp_path):
    """A robot whose plane lies 3 m below 0 stands as one whose plane is at 0, and falls as it does."""
    tasks = {}
    for z in (0.0, -3.0):
        plane = f"""<worldbody><geom name="ground" type="plane" size="5 5 .1" pos="0 0 {z}"/></worldbody>"""
        options = {"home": {".*": 0.1}, "velocity": [0.0, 0.0, 0.0]}
        tasks[z] = velocity_task(walker_config(tmp_path, walker(extra=plane), **options))
    seen = []
    for z, task in tasks.items():
        robots = state(task, count=3, velocity=[0.0, 0.0, 0.0])
        robots.qpos[:, 2] -= torch.tensor([0.0, 0.05, 0.15])
        assert task.terminated(robots).tolist() == [False, False, True], z
        seen.append(task.reward(robots, rested(task, 3), robots)["height"])
    assert torch.allclose(*seen)
    assert float(seen[0][1]) < -0.01


def test_observation_is_what_the_layout_says(pup):
    robot = state(pup)
    robot.qvel[0] = torch.arange(pup.model.nv)
    names = {field.name: field for field in pup.layout}
    seen = pup.observe(robot)[0]
    model = pup.model
    for name, value, unit, frame in (
        ("angular_velocity:trunk.y", 4.0, "rad/s", "trunk"),
        ("gravity:trunk.z", -1.0, "", "trunk"),
        ("position:FR_calf_joint", -1.5, "rad", ""),
        ("velocity:RL_hip_joint", float(model.joint("RL_hip_joint").dofadr[0]), "rad/s", ""),
        ("last_command:RR_thigh_joint", 0.75, "rad", ""),
        ("command:vx", 0.5, "m/s", "trunk"),
        ("command:yaw_rate", 0.0, "rad/s", "trunk"),
    ):
        field = names[name]
        assert float(seen[field.start]) == pytest.approx(value), name
        assert (field.unit, field.frame) == (unit, frame)
    assert len(seen) == pup.layout[-1].stop == 45


def test_velocities_are_drawn_in_range_and_again_in_an_episode():
    task = velocity_task(pup_config(kwargs={"vx": [0.2, 0.4], "vy": [0, 0], "redraw_seconds": 0.4}))
    random = torch.Generator().manual_seed(0)
    drawn = task.begin(1000, random)["velocity"]
    stands = (drawn == 0.0).all(1)
    assert 0.05 < float(stands.float().mean()) < 0.15
    assert 0.2 <= float(drawn[~stands, 0].min()) < 0.21
    assert 0.39 < float(drawn[~stands, 0].max()) <= 0.4
    before = state(task, count=1000)
    after = task.remember(before, rested(task, 1000), random)["velocity"]
    changed = (after != before.memory["velocity"]).any(1).float().mean()
    assert 0.07 < float(changed) < 0.13  # once in 0.4 s, at 25 Hz
    fixed = velocity_task(pup_config(velocity=FORWARD))
    assert (fixed.begin(5, random)["velocity"] == torch.tensor(FORWARD)).all()


def test_pup_stands_in_its_home_pose():
    task = make_task(pup_config(velocity=[0.0, 0.0, 0.0]), 2, 0)
    rest = torch.from_numpy(fallback_command(task.spec.bounds)).repeat(2, 1)
    task.reset()
    for _ in range(75):
        result = task.step(rest)
        assert not (result.terminated | result.failed).any()
    numbers = dict(zip([f.name for f in task.spec.observation], result.observations[0].tolist(), strict=True))
    assert numbers["gravity:trunk.z"] < -0.999
    assert max(abs(v) for name, v in numbers.items() if "velocity" in name) < 0.01
    assert result.rewards.min() > 0.99
    task.close()


def test_state_goes_on_with_the_same_commands():
    tasks = [make_task(pup_config(), 2, 0) for _ in range(2)]
    command = torch.from_numpy(fallback_command(tasks[0].spec.bounds)).repeat(2, 1)
    tasks[0].reset()
    tasks[0].step(command)
    tasks[1].reset()
    tasks[1].restore(tasks[0].state())
    for _ in range(60):
        results = [task.step(command) for task in tasks]
    assert torch.equal(results[0].observations, results[1].observations)
    assert torch.equal(results[0].rewards, results[1].rewards)


def test_fixed_velocity_needs_a_task_that_follows_one():
    assert with_velocity(pup_config(), FORWARD).velocity == FORWARD
    assert with_velocity(pup_config(), None).velocity is None
    with pytest.raises(InputError, match="HalfCheetah-v5 follows no velocity"):
        with_velocity(TaskConfig("gymnasium", "HalfCheetah-v5"), FORWARD)


def test_rest_and_frame_survive_the_file():
    task = make_task(pup_config(bounds={"FL_thigh_joint": [0.9, 1.0]}), 1, 0)
    spec = task.spec
    again = TaskSpec.from_dict(spec.to_dict())
    assert again == spec
    assert spec.bounds.rest[:3] == (0.0, 0.9, -1.5)
    assert fallback_command(spec.bounds)[:3] == pytest.approx([0.0, 0.9, -1.5])
    old = spec.to_dict()
    old["bounds"] = {name: old["bounds"][name] for name in ("names", "low", "high")}
    old["observation"] = [
        {k: v for k, v in dataclasses.asdict(f).items() if k != "frame"} for f in spec.observation
    ]
    assert TaskSpec.from_dict(old).bounds.rest == ()


def test_rotations():
    random = torch.nn.functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1)
    w, x, y, z = random.unbind(1)
    row = torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1)
    assert torch.allclose(gravity_direction(random), -row)
    forward = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).repeat(5, 1)
    heading = turned_back(forward, yaw_alone(random))
    assert heading[:, 2].abs().max() < 1e-12
