"""Randomised models, noise, delayed commands and pushes: each changes what it should, and nothing else."""

import numpy as np
import pytest
import torch
from robots import ARM, arm_config, pup_config, walker, walker_config
from tensor_cases import cart, commands, worlds

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor.disturb import with_command_delay, with_noise, with_pushes
from acer_robot.tasks.tensor.randomize import KINDS, with_randomized_models

RICH = walker().replace("axis=", 'damping=".1" armature=".01" frictionloss=".3" axis=')


def config(tmp_path, **options):
    """Return a walker whose joints have damping, armature and dry friction, and that starts in its home pose."""
    still = {"start_angle": 0, "start_speed": 0}
    weak = {".*": {"kp": 20, "kd": 0.5, "effort": 2, "scale": 0.4}}
    return walker_config(tmp_path, RICH, actuators=weak, velocity=[0.0, 0.0, 0.0], kwargs=still, **options)


def motion(options, steps=12):
    """Return what two walkers observe while they swing their legs [steps, 2, n]."""
    task = make_task(options, 2, 0)
    low, high = (torch.tensor(limit) for limit in (task.spec.bounds.low, task.spec.bounds.high))
    task.reset()
    seen = []
    for step in range(steps):
        seen.append(task.step((high if step % 4 < 2 else low).repeat(2, 1)).next_observations)
    task.close()
    return torch.stack(seen)


@pytest.fixture(scope="module")
def nominal(tmp_path_factory):
    return motion(config(tmp_path_factory.mktemp("nominal")))


@pytest.mark.parametrize("name", KINDS)
def test_every_field_changes_the_motion(tmp_path, nominal, name):
    limits = [0.02, 0.02] if name == "com" else [1.5, 1.5]
    changed = motion(config(tmp_path, randomize={name: limits}))
    assert (changed - nominal).abs().max() > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_factor_of_one_changes_nothing(tmp_path, nominal, name):
    limits = [0.0, 0.0] if name == "com" else [1.0, 1.0]
    assert torch.equal(motion(config(tmp_path, randomize={name: limits}))[0], nominal[0])


def test_numbers_are_drawn_by_episode_within_their_range(tmp_path):
    options = config(tmp_path, randomize={"body_mass": {"trunk": [0.5, 2.0]}, "gravity": [0.9, 1.1]})
    options.kwargs |= {"seconds": 0.4}
    task = make_task(options, 64, 0)
    task.reset()
    batch, model = task._simulator._batch, task._simulator.model
    trunk, others = model.body("trunk").id, np.arange(model.nbody) != model.body("trunk").id
    masses = [np.array(batch.expand("body_mass"))]
    factors = masses[0][:, trunk] / model.body_mass[trunk]
    assert 0.5 <= factors.min() < 0.7
    assert 1.8 < factors.max() <= 2.0
    np.testing.assert_allclose(
        batch.expand("body_inertia")[:, trunk, 0] / model.body_inertia[trunk, 0], factors
    )
    assert (masses[0][:, others] == model.body_mass[others]).all()
    gravity = batch.expand("opt.gravity")[:, 2]
    assert -9.81 * 1.1 <= gravity.min() < gravity.max() <= -9.81 * 0.9
    rest = torch.zeros(64, 2)
    for _ in range(10):
        task.step(rest)
    masses.append(np.array(batch.expand("body_mass")))
    assert (masses[0][:, trunk] != masses[1][:, trunk]).all()


def test_one_part_alone_is_changed(tmp_path):
    task = make_task(config(tmp_path, randomize={"actuator_kp": {"left.*": [2, 2]}}), 1, 0)
    task.reset()
    batch = task._simulator._batch
    assert batch.expand("actuator_gainprm")[0, :, 0].tolist() == [40.0, 20.0]
    assert batch.expand("actuator_biasprm")[0, :, 1].tolist() == [-40.0, -20.0]
    assert batch.expand("actuator_biasprm")[0, :, 2].tolist() == [-0.5, -0.5]


def test_strength_scales_the_limit_of_the_joint(tmp_path):
    xml = RICH.replace('name="left_hip"', 'name="left_hip" actuatorfrcrange="-3 3"')
    actuators = {".*": {"kp": 20, "kd": 0.5, "scale": 0.4}}
    options = {"actuators": actuators, "randomize": {"actuator_strength": {"left.*": [0.5, 0.5]}}}
    task = make_task(walker_config(tmp_path, xml, **options), 1, 0)
    task.reset()
    joint = task._simulator.model.joint("left_hip").id
    assert task._simulator._batch.expand("jnt_actfrcrange")[0, joint].tolist() == [-1.5, 1.5]
    task.close()
    options["randomize"] = {"actuator_strength": {"right.*": [0.5, 0.5]}}
    with pytest.raises(InputError, match=r"actuator_strength right\.\* scales nothing"):
        make_task(walker_config(tmp_path, xml, **options), 1, 0)


def test_gravity_compensation_is_that_of_the_nominal_mass(tmp_path):
    """A load that the compensation does not know lets the arm sag."""
    path = tmp_path / "held.xml"
    path.write_text(ARM.replace('<body name="lower"', '<body name="lower" gravcomp=".8"'))
    options = {"model": str(path), "randomize": {"body_mass": {"lower": [1.25, 1.25], "upper": [2, 2]}}}
    task = make_task(arm_config(tmp_path, **options), 1, 0)
    task.reset()
    batch, model = task._simulator._batch, task._simulator.model
    weights = [batch.expand("body_mass")[0] * batch.expand("body_gravcomp")[0]]
    np.testing.assert_allclose(weights[0], model.body_mass * model.body_gravcomp)
    assert batch.expand("body_gravcomp")[0, model.body("lower").id] == pytest.approx(0.64)
    task.close()


SPEED = '<velocity joint="left_hip" kv="4" ctrlrange="-1 1"/>'
TARGET = '<position joint="right_hip" kp="20" kv=".5" ctrlrange="-1 1"/>'
DAMPER = '<damper joint="left_hip" kv="4" ctrlrange="0 1"/>'
DC = '<dcmotor joint="left_hip" ctrlrange="-9 9" motorconst=".05" resistance="1"/>'


def driven(tmp_path, actuators, **options):
    stable = '<option integrator="implicitfast"/>'
    xml = walker(extra=f"{stable}<actuator>{actuators}</actuator>")
    return make_task(walker_config(tmp_path, xml, actuators={}, **options), 1, 0)


def test_gain_of_a_velocity_servo_keeps_its_speed(tmp_path):
    task = driven(tmp_path, SPEED + TARGET, randomize={"actuator_kp": [2, 2]})
    task.reset()
    batch = task._simulator._batch
    assert batch.expand("actuator_gainprm")[0, :, 0].tolist() == [8.0, 40.0]
    assert batch.expand("actuator_biasprm")[0, :, :3].tolist() == [[0.0, 0.0, -8.0], [0.0, -40.0, -0.5]]
    task.close()


@pytest.mark.parametrize(
    ("actuator", "name", "message"),
    [
        (SPEED, "actuator_kd", "'left_hip' is a velocity servo, whose gain is actuator_kp"),
        (DAMPER, "actuator_kp", "'left_hip' has no constant gain"),
        (DAMPER, "actuator_kd", "'left_hip' has no constant gain"),
        (DC, "actuator_kp", "'left_hip' has no constant gain"),
    ],
)
def test_gains_that_cannot_be_scaled_are_refused(tmp_path, actuator, name, message):
    with pytest.raises(InputError) as error:
        driven(tmp_path, actuator + TARGET, randomize={name: [1, 2]})
    assert message in str(error.value)
    driven(tmp_path, actuator + TARGET, randomize={name: {"right_hip": [1, 2]}}).close()


@pytest.mark.parametrize(
    ("value", "expected"),
    [([0.5, 0.5], [[0.35, 0.3], [0.45, 0.45]]), ({"left_.*": [0.5, 0.5]}, [[0.35, 0.3], [0.9, 0.9]])],
)
def test_friction_scales_that_of_contact_pairs(tmp_path, value, expected):
    pairs = '<pair geom1="ground" geom2="left_foot" friction=".7 .6 .005 .0001 .0002"/>'
    pairs += '<pair geom1="right_foot" geom2="ground" friction=".9 .9"/>'
    ground = '<worldbody><geom name="ground" type="plane" size="5 5 .1"/></worldbody>'
    xml = walker(extra=f"{ground}<contact>{pairs}</contact>")
    task = make_task(walker_config(tmp_path, xml, randomize={"geom_friction": value}), 1, 0)
    task.reset()
    friction = task._simulator._batch.expand("pair_friction")[0]
    np.testing.assert_allclose(friction[:, :2], expected)
    np.testing.assert_allclose(friction[:, 2:], task._simulator.model.pair_friction[:, 2:])
    task.close()


def test_delayed_commands_arrive_later():
    """A cart whose commands are 2 steps late moves as one that gets its commands 2 steps late."""
    given = commands(3, 20) * 0.1
    late = worlds(with_command_delay(cart(time_limit=0), 2), 3)
    plain = worlds(cart(time_limit=0), 3)
    late.reset(), plain.reset()
    for task in (late, plain):
        task._simulator.write({name: torch.zeros(3, 1, dtype=torch.float64) for name in ("qpos", "qvel")})
    shifted = torch.cat([torch.zeros(2, 3, 1, dtype=torch.float64), given[:-2]])
    masses = [np.array(task._simulator._batch.expand("body_mass")) for task in (late, plain)]
    plain._simulator._batch.expand("body_mass")[:] = masses[0]
    for mine, theirs in zip(given, shifted, strict=True):
        results = late.step(mine), plain.step(theirs)
        assert torch.equal(results[0].next_observations[:, :2], results[1].next_observations[:, :2])
        assert torch.equal(results[0].next_observations[:, 3], mine[:, 0].float())  # its own last command


@pytest.mark.parametrize("make_config", [walker_config, arm_config])
def test_first_commands_lie_within_narrowed_bounds(tmp_path, make_config):
    name = "left_hip" if make_config is walker_config else "lift"
    task = make_task(make_config(tmp_path, bounds={name: [0.1, 0.2]}, command_delay=2), 1, 0)
    task.reset()
    joint = task.spec.bounds.names.index(name)
    last = [field.name for field in task.spec.observation].index(f"last_command:{name}")
    assert task._observations[0, last] == pytest.approx(0.1)
    task.step(torch.full((1, task.spec.action_size), 0.2))
    assert float(task._simulator._batch.bind("ctrl")[0, joint]) == pytest.approx(0.1)
    task.close()


def test_delay_is_drawn_by_episode():
    task = with_command_delay(cart(), [0, 2])
    steps = task.begin(300, torch.Generator().manual_seed(0))["delay.steps"]
    assert sorted(set(steps.tolist())) == [0, 1, 2]


def test_noise_is_of_its_entry_and_unit():
    task = worlds(with_noise(cart(time_limit=0), {"position": 0.1, "velocity:rail": 0.2}), 200)
    first = task.reset()
    seen = torch.stack([task.step(torch.zeros(200, 1)).observations for _ in range(20)])
    true = torch.stack([task._before.qpos[:, 0]] * 20).float()
    assert abs(float((seen[:, :, 0] - true).std()) - 0.1) < 0.02  # the carts stand still
    assert abs(float(seen[:, :, 1].std()) - 0.2) < 0.02
    assert (seen[:, :, 3] == 0.0).all()
    assert first[:, 1].std() > 0.1  # the first observation as well


def test_pushes_change_the_velocity_of_the_base():
    options = pup_config(velocity=[0.0, 0.0, 0.0], push={"seconds": 0.4, "speed": 0.5})
    task = make_task(options, 50, 0)
    task.reset()
    rest = torch.tensor(task.spec.bounds.rest).repeat(50, 1)
    pushed, before = 0, None
    for step in range(12):
        push = task._memory["push"].clone()
        task.step(rest)
        if step > 5:
            speed = push.norm(dim=1)
            assert speed.max() <= 0.5
            pushed += int((speed > 0).sum())
            moved = (task._before.qvel[:, :2] - before).norm(dim=1)
            assert moved[speed > 0.3].min() > 3 * moved[speed == 0.0].median()
        before = task._before.qvel[:, :2].clone()
    assert 10 < pushed < 60  # one in ten of 300
    task.close()


def test_pushes_leave_the_push_of_a_viewer(tmp_path):
    speeds = {}
    for kicked in (False, True):
        task = make_task(config(tmp_path, push={"seconds": 1e6, "speed": 0.5}), 2, 0)
        task.reset()
        if kicked:
            task.add_velocity(np.array([0.0, 2.0] + [0.0] * (task._task.model.nv - 2)))
        command = torch.tensor(task.spec.bounds.rest).repeat(2, 1)
        task.step(command)
        speeds[kicked] = task._before.qvel[:, 1].clone()
        task.close()
    assert float(speeds[True][0] - speeds[False][0]) > 1.0
    assert float(speeds[True][1]) == float(speeds[False][1])


def test_state_goes_on_with_the_same_disturbances(tmp_path):
    options = config(
        tmp_path, randomize={"body_mass": [0.5, 2.0], "gravity": [0.9, 1.1]}, command_delay=[0, 3]
    )
    options.noise, options.push = {"position": 0.1}, {"seconds": 1, "speed": 1}
    tasks = [make_task(options, 3, 0) for _ in range(2)]
    command = torch.full((3, 2), 0.2)
    tasks[0].reset(), tasks[1].reset()
    tasks[0].step(command)
    tasks[1].restore(tasks[0].state())
    for _ in range(20):
        results = [task.step(command) for task in tasks]
    assert torch.equal(results[0].observations, results[1].observations)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"randomize": {"color": [1, 2]}},
            "'color', which cannot be randomised; it takes geom_friction, body_mass",
        ),
        ({"randomize": {"gravity": [2, 1]}}, "task.randomize of gravity is [2, 1], an empty range"),
        ({"randomize": {"gravity": [0, 1]}}, "is 0; expected a number from 0.01"),
        ({"randomize": {"gravity": [float("nan"), 1]}}, "is nan; expected a number"),
        ({"randomize": {"gravity": {"x": [1, 2]}}}, "has no parts; give one range"),
        ({"randomize": {"body_mass": 3}}, "task.randomize of body_mass is 3; expected two numbers"),
        ({"randomize": {"body_mass": {"tail": [1, 2]}}}, "matches no body; the model has world, trunk"),
        ({"randomize": {"dof_damping": {"root": [1, 2]}}}, "scales nothing: the model has 0 there"),
        ({"noise": {"smell": 1}}, "matches no observation; there are angular_velocity, command"),
        ({"noise": {"position": -1}}, "task.noise of position is -1"),
        ({"noise": {"(": 1}}, "no regular expression"),
        ({"noise": {5: 1}}, "task.noise has the key 5; expected a name, or a regular expression"),
        (
            {"randomize": {"geom_friction": {5: [0.5, 1]}}},
            "task.randomize of geom_friction has the key 5; expected",
        ),
        ({"command_delay": 1.5}, "task.command_delay=1.5; expected a whole number of control steps"),
        ({"command_delay": -1}, "expected a whole number"),
        ({"command_delay": [3, 1]}, "is an empty range"),
        ({"push": {"strength": 1}}, "task.push names 'strength'"),
        ({"push": {"seconds": 0}}, "task.push of seconds is 0"),
    ],
)
def test_unusable_disturbances_are_named(tmp_path, options, message):
    with pytest.raises(InputError) as error:
        make_task(config(tmp_path, **options), 1, 0)
    assert message in str(error.value)


def test_disturbances_need_a_tensor_task():
    with pytest.raises(
        InputError, match=r"task\.command_delay=2 needs a tensor task; set task\.backend=batch"
    ):
        make_task(TaskConfig("gymnasium", "HalfCheetah-v5", command_delay=2), 1, 0)
    with pytest.raises(InputError, match=r"task\.push needs a robot with a free base"):
        with_pushes(cart(), {"speed": 1})


CUBE = """<body name="cube" pos="2 0 .2"><freejoint/><geom name="cube" type="box" size=".1 .1 .1"/></body>"""


def test_a_loose_object_is_no_base_of_an_arm(tmp_path):
    """Pushes and a shift of the trunk are refused; a shift of named bodies is not."""
    path = tmp_path / "cube.xml"
    path.write_text(ARM.replace("<worldbody>", f"<worldbody>{CUBE}"))

    def made(**options):
        make_task(arm_config(tmp_path, model=str(path), **options), 1, 0).close()

    with pytest.raises(
        InputError, match=r"task\.push needs a robot with a free base, which robot/own-reach does"
    ):
        made(push={"speed": 1})
    with pytest.raises(
        InputError, match=r"com without bodies shifts the trunk of a robot that can move away"
    ):
        made(randomize={"com": [0.02, 0.02]})
    made(randomize={"com": {"lower": [0.02, 0.02]}})


def test_no_disturbance_leaves_the_task_alone():
    task = cart()
    assert with_noise(task, {}) is with_pushes(task, {}) is with_randomized_models(task, {}) is task
    assert with_command_delay(task, 0) is task
