"""Every input that a task cannot use is refused in one line that names it and what to do."""

import numpy as np
import pytest
import scripted_envs  # registers Spaces-v0, Broken-v0 and Arm-v0
import torch
from gymnasium.spaces import Box

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu.spaces import command_bounds


def gym(task_id, **options):
    return TaskConfig("gymnasium", task_id, **options)


def dmc(task_id, **options):
    return TaskConfig("dm_control", task_id, **options)


def spaces(**kwargs):
    return gym("Spaces-v0", kwargs=kwargs)


def arm(bounds, **kwargs):
    return gym("Arm-v0", kwargs=kwargs, bounds=bounds)


REFUSED = {
    "suite": (TaskConfig("mujoco", "HalfCheetah-v5"), ["task.suite='mujoco'", "gymnasium, dm_control"]),
    "action repeat": (gym("Pendulum-v1", action_repeat=0), ["action_repeat=0", "1 <="]),
    "id in lower case": (gym("halfcheetah-v5"), ["'halfcheetah-v5'", "did you mean HalfCheetah-v5"]),
    "id without a version": (gym("Walker2d"), ["'Walker2d'", "did you mean Walker2d-v"]),
    "id like no other": (gym("zzz"), ["'zzz'", "pprint_registry", "module:EnvId"]),
    "module": (gym("no_such_robot:Arm-v0"), ["no_such_robot", "PYTHONPATH"]),
    "path for a module": (gym("./robots/arm:Arm-v0"), ["'./robots/arm'", "module:EnvId"]),
    "id in a module": (gym("scripted_envs:Arn-v0"), ["'scripted_envs:Arn-v0'", "did you mean Arm-v0"]),
    "missing dependency": (gym("HalfCheetah-v2"), ["HalfCheetah-v2", "cannot be made"]),
    "dm_control domain": (
        dmc("walkr-walk"),
        ["'walkr-walk'", "did you mean walker-walk", "acrobot", "quadruped"],
    ),
    "dm_control task": (dmc("walker-jump"), ["'walker-jump'", "walker-stand, walker-walk, walker-run"]),
    "dm_control underscore": (dmc("walker_walk"), ["'walker_walk'", "did you mean walker-walk"]),
    "kwargs": (gym("HalfCheetah-v5", kwargs={"speed": 3}), ["{'speed': 3}", "unexpected keyword argument"]),
    "dm_control kwargs": (
        dmc("walker-walk", kwargs={"speed": 3}),
        ["{'speed': 3}", "unexpected keyword argument"],
    ),
    "model file": (gym("Ant-v5", kwargs={"xml_file": "/no/ant.xml"}), ["/no/ant.xml", "does not exist"]),
    "render mode": (gym("HalfCheetah-v5", kwargs={"render_mode": "human"}), ["render_mode"]),
    "dm_control random": (dmc("walker-walk", kwargs={"random": 3}), ["random", "seed"]),
    "discrete actions": (gym("CartPole-v1"), ["'CartPole-v1'", "Discrete(2)", "continuous"]),
    "discrete actions of one's own": (spaces(action="discrete"), ["Discrete(4)", "continuous"]),
    "matrix of actions": (spaces(action="matrix"), ["action space", "flat Box"]),
    "dictionary": (spaces(observation="dict"), ["observation space Dict", "FlattenObservation"]),
    "picture": (
        spaces(observation="picture"),
        ["observation space Box(0, 255", "pictures are not supported"],
    ),
    "integers": (spaces(observation="integers"), ["observation space Box", "floats"]),
    "unbounded": (
        spaces(low=[-1.0, -float("inf")]),
        ["unbounded for action_1;", "task.bounds={action_1: [LOW, HIGH]}"],
    ),
    "dm_control without limits": (
        dmc("lqr-lqr_6_2"),
        ["joint_0, joint_1;", "task.bounds={joint_0: [LOW, HIGH], joint_1: [LOW, HIGH]}"],
    ),
    "actuator without limits": (arm({}, limited="false"), ["unbounded for reach;", "{reach: [LOW, HIGH]}"]),
    "NaN in the space": (spaces(action="nan"), ["'action_1'", "NaN"]),
    "NaN that Gymnasium sees": (gym("Broken-v0"), ["'Broken-v0'", "nan"]),
    "NaN in an override": (arm({"reach": [float("nan"), 1.0]}), ["'reach'", "finite"]),
    "unknown joint": (arm({"knee": [-1.0, 1.0]}), ["'knee'", "shoulder, reach"]),
    "wider than the model": (arm({"shoulder": [-1.0, 0.3]}), ["'shoulder'", "[-1.5, 0.25]", "narrowed"]),
    "swapped": (arm({"shoulder": [0.1, -0.1]}), ["'shoulder'", "[low, high]"]),
    "no time step": (spaces(timed=False), ["seconds", "`dt`"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name):
    config, fragments = REFUSED[name]
    with pytest.raises(InputError) as caught:
        make_task(config, num_envs=2, seed=0)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no\\nlicence')", "RuntimeError: no licence ("),
        ("x = 1\nif:", "SyntaxError: invalid syntax (broken_robot.py, line 2)"),
        ("import os\nos.no_name", "AttributeError: module 'os' has no attribute 'no_name' ("),
    ],
)
def test_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch, code, reason):
    (tmp_path / "broken_robot.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as caught:
        make_task(gym("broken_robot:Arm-v0"), 1, 0)
    message = str(caught.value)
    assert "\n" not in message
    assert f"the module broken_robot cannot be imported: {reason}" in message


@pytest.mark.parametrize(("num_envs", "seed", "name"), [(0, 0, "num_envs=0"), (1, -1, "seed=-1")])
def test_numbers_out_of_range(num_envs, seed, name):
    with pytest.raises(InputError, match=name):
        make_task(gym("Pendulum-v1"), num_envs, seed)


@pytest.mark.parametrize(
    ("task_id", "size", "fragment"),
    [("Pendulum-v1", (0, 480), "0 x 480"), ("Scripted-v0", (64, 64), "rgb_array")],
)
def test_pictures_that_cannot_be_drawn(task_id, size, fragment):
    with pytest.raises(InputError, match=fragment):
        make_task(gym(task_id), 1, 0, render_size=size)


def test_nothing_is_left_open_when_a_task_is_refused():
    closed = []
    scripted_envs.SpacesEnv.close = lambda self: closed.append(self)
    try:
        with pytest.raises(InputError):
            make_task(spaces(action="discrete"), 2, 0)
    finally:
        del scripted_envs.SpacesEnv.close
    assert len(closed) == 1


def test_environment_that_raises_is_named_with_the_line(monkeypatch):
    def mistaken(self, **kwargs):
        raise RuntimeError("no\ncamera")

    monkeypatch.setattr(scripted_envs.SpacesEnv, "__init__", mistaken)
    with pytest.raises(
        InputError, match=r"'Spaces-v0' cannot be made: RuntimeError: no camera \(.*errors.py, line"
    ):
        make_task(spaces(), 1, 0)


def test_limits_that_an_override_completes():
    config = arm({"reach": [-7.0, 7.5]}, limited="false")
    task = make_task(config, 1, 0)
    assert task.spec.bounds.names == ("shoulder", "reach")
    assert (task.spec.bounds.low, task.spec.bounds.high) == ((-1.5, -7.0), (0.25, 7.5))
    task.reset()
    task.step(torch.as_tensor(np.array([[-9.0, 9.0]])))
    np.testing.assert_array_equal(scripted_envs.ArmEnv.made[-1].data.ctrl, [-1.5, 7.5])
    task.close()


def test_an_infinite_side_of_a_range_is_mended_alone():
    space = Box(np.array([-np.inf, -1.0]), np.array([2.0, 1.0]), dtype=np.float64)
    bounds = command_bounds(space, None, {"action_0": [-5.0, 2.0]})
    assert (bounds.low, bounds.high) == ((-5.0, -1.0), (2.0, 1.0))
    with pytest.raises(InputError, match=r"wider than the model's \[-inf, 2\]"):
        command_bounds(space, None, {"action_0": [-5.0, 3.0]})
