"""mujoco_warp on its CPU device against MuJoCo C. The first step compiles for one to three minutes, then a cache has it."""

import importlib.util

import mujoco
import numpy as np
import pytest
import torch
from tensor_cases import cart, commands, warp_worlds, worlds

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor.batch_simulator import BatchSimulator
from acer_robot.tasks.tensor.known import GYMNASIUM
from acer_robot.tasks.tensor.task import State
from acer_robot.tasks.tensor.warp_simulator import WarpSimulator

CPU = torch.device("cpu")
needs_warp = pytest.mark.skipif(
    importlib.util.find_spec("mujoco_warp") is None,
    reason="needs the extra warp: pip install 'acer-robot[warp]'",
)
FIRST = [pytest.param("HalfCheetah-v5", id="HalfCheetah-v5")]
ALL = FIRST + [
    pytest.param(name, id=name, marks=pytest.mark.extras) for name in GYMNASIUM if name != "HalfCheetah-v5"
]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@needs_warp
@pytest.mark.parametrize("name", ALL)
def test_whole_steps_on_warp_are_mujocos(name):
    task = GYMNASIUM[name]()
    if task.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        task.model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON  # mujoco_warp has no PGS
    count, generator = 3, torch.Generator().manual_seed(2)
    simulators = (
        BatchSimulator(task.model, count, 1, task.fields),
        WarpSimulator(task.model, count, CPU, task.fields),
    )
    qpos, qvel = task.reset(count, generator)
    everyone = torch.ones(count, dtype=torch.bool)
    for simulator in simulators:
        simulator.reset(everyone, qpos, qvel, {})
        for name, values in simulators[0].fields.items():
            np.testing.assert_allclose(simulator.fields[name], values, **CLOSE, err_msg=name)
    low, high = (torch.tensor(limit, dtype=torch.float64) for limit in (task.bounds.low, task.bounds.high))
    for _ in range(3):
        command = low + torch.rand(count, len(low), generator=generator, dtype=torch.float64) * (high - low)
        before = [State({name: values.clone() for name, values in s.fields.items()}, {}) for s in simulators]
        for simulator in simulators:
            simulator.step({"ctrl": command}, task.frame_skip)
        after = [State(simulator.fields, {}) for simulator in simulators]
        np.testing.assert_allclose(*[task.observe(state) for state in after], **CLOSE)
        rewards = [
            sum(task.reward(*pair).values()) for pair in zip(before, [command] * 2, after, strict=True)
        ]
        np.testing.assert_allclose(*rewards, **CLOSE)
        assert not simulators[1].unstable().any()
        assert not simulators[1].overflowed().any()
