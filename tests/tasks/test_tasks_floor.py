"""The floor of a picture has no edge, and drawing it changes nothing that is simulated."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from drawing import needs_gl

from acer_robot.reporting.gl import probe_gl
from acer_robot.tasks.model.floor import EndlessFloor
from acer_robot.tasks.model.moving_body import moving_body

MATERIALS = """<asset><texture name="t" type="2d" builtin="checker" width="8" height="8"/>
<material name="m" texture="t" texrepeat="60 30"/>
<material name="uniform" texture="t" texrepeat="3 3" texuniform="true"/></asset>"""


def make_model(geoms, joint='<joint type="free"/>'):
    import mujoco

    body = f'<body>{joint}<geom size="0.1"/><body><joint name="hinge"/><geom size="0.1"/></body></body>'
    return mujoco.MjModel.from_xml_string(f"<mujoco>{MATERIALS}<worldbody>{geoms}{body}</worldbody></mujoco>")


FLOOR = '<geom name="floor" type="plane" size="40 20 1" material="m"/>'


def sizes_while_drawn(model):
    with EndlessFloor(model).drawn():
        return model.geom("floor").size.tolist()


def test_floor_is_endless_only_while_it_is_drawn():
    model = make_model(FLOOR)
    floor = EndlessFloor(model)
    assert model.geom("floor").size.tolist() == [40, 20, 1]
    with floor.drawn():
        assert model.geom("floor").size.tolist() == [0, 0, 1]
    assert model.geom("floor").size.tolist() == [40, 20, 1]


@pytest.mark.parametrize(
    ("geom", "joint", "expected"),
    [
        ('size="250 .8 1"', '<joint type="slide" axis="1 0 0"/>', [0, 0.8, 1]),
        ('size=".5 .5 1"', '<joint type="free"/>', [0.5, 0.5, 1]),
        ('size="5 5 1" zaxis="1 0 1"', '<joint type="free"/>', [5, 5, 1]),
        ('size="5 5 1"', '<joint type="hinge"/>', [5, 5, 1]),
        ('size="5 5 1"', '<joint type="slide" limited="true" range="-1 1"/>', [5, 5, 1]),
    ],
    ids=["strip", "basin", "wall", "fixed robot", "rail"],
)
def test_which_sides_are_endless(geom, joint, expected):
    model = make_model(f'<geom name="floor" type="plane" {geom}/>', joint)
    assert sizes_while_drawn(model) == expected


def test_texture_keeps_its_size():
    model = make_model(FLOOR + FLOOR.replace("floor", "second"))
    EndlessFloor(model)
    assert model.mat("m").texrepeat.tolist() == [1.5, 1.5]
    model = make_model(FLOOR.replace('"m"', '"uniform"'))
    EndlessFloor(model)
    assert model.mat("uniform").texrepeat.tolist() == [3, 3]


def test_moving_body():
    assert moving_body(make_model(FLOOR)) == 1
    assert moving_body(make_model(FLOOR, '<joint type="hinge"/>')) is None


DRAW = """
import json, sys
import numpy as np
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu.probe import simulation_of
import mujoco, torch
suite, name, joint = sys.argv[1:]

def make(size):
    task = make_task(TaskConfig(suite, name), 1, 0, size)
    task.reset()
    return task, *simulation_of(task._environments[0])

task, model, data = make((96, 96))
plain, _, other = make(None)
commands = torch.rand(12, 1, task.spec.action_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
equal = True
for command in commands:
    task.render()
    results = task.step(command), plain.step(command)
    equal &= torch.equal(results[0].observations, results[1].observations)
    equal &= bool(np.array_equal(data.qpos, other.qpos) and np.array_equal(data.qvel, other.qvel))
pose, place = data.qpos.copy(), model.joint(joint).qposadr[0]

def picture(metres):
    data.qpos[:] = pose
    data.qpos[place] = metres
    mujoco.mj_forward(model, data)
    return task.render()[-30:].astype(float)

task.reset()
near = picture(0.0)
differences = [float(abs(picture(metres) - near).mean()) for metres in (40.0, 80.0, 120.0)]
task.reset()
differences.append(float(abs(picture(0.0) - near).mean()))
print(json.dumps([equal, differences]))
"""


@needs_gl
@pytest.mark.parametrize(
    ("suite", "name", "joint"),
    [("gymnasium", "HalfCheetah-v5", "rootx"), ("dm_control", "swimmer-swimmer6", "rootx")],
)
def test_floor_is_seen_far_away_and_physics_is_the_same(suite, name, joint):
    environment = {**os.environ, "MUJOCO_GL": probe_gl()}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, suite, name, joint],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    equal, differences = json.loads(done.stdout.splitlines()[-1])
    assert equal
    np.testing.assert_array_less(differences, 1.5)
