"""mujoco_warp on its CPU device against MuJoCo C. The first step compiles for minutes; then a cache has its kernels."""

import dataclasses
import importlib.util

import mujoco
import numpy as np
import pytest
import torch
from robots import WITH_STATE, own_arm

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor import make as tensor_make
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
    if name == "Ant-v5":
        # mujoco_warp lays the pyramid of friction along other tangents than MuJoCo C where a capsule stands steeper
        # than 60 degrees on a plane, as a leg of the ant does here. A cone has no direction.
        task.model.opt.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
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
        for name in ("qpos", "qvel", "qacc_warmstart"):  # each step starts from the same state
            simulators[1].write({name: torch.from_numpy(simulators[0]._batch.bind(name))})
        command = low + torch.rand(count, len(low), generator=generator, dtype=torch.float64) * (high - low)
        before = [State({name: values.clone() for name, values in s.fields.items()}, {}) for s in simulators]
        for simulator in simulators:
            simulator.step({"ctrl": command}, task.frame_skip)
        after = [State(simulator.fields, {}) for simulator in simulators]
        forces = next((field.start for field in task.layout if field.name == "cfrc_ext"), None)
        observed = [task.observe(state) for state in after]
        np.testing.assert_allclose(*[values[:, :forces] for values in observed], **CLOSE)
        np.testing.assert_allclose(*observed, rtol=2e-3, atol=2e-3)  # forces of contacts, in float32
        rewards = [
            sum(task.reward(*pair).values()) for pair in zip(before, [command] * 2, after, strict=True)
        ]
        np.testing.assert_allclose(*rewards, **CLOSE)
        assert not simulators[1].unstable().any()
        assert not simulators[1].overflowed().any()


def both(kwargs, count=3):
    """Return HalfCheetah on warp and on batch, with the same draws."""
    configs = [TaskConfig("gymnasium", "HalfCheetah-v5", kwargs, backend=name) for name in ("warp", "batch")]
    return [make_task(config, count, 0, training_on=CPU) for config in configs]


@needs_warp
def test_episodes_on_warp_are_those_on_batch(capfd):
    warp, batch = both({"max_episode_steps": 3})
    observations = warp.reset()
    np.testing.assert_allclose(observations, batch.reset(), **CLOSE)
    given = torch.rand(7, 3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2.0 - 1.0
    expected = []
    for step, command in enumerate(given):
        expected.append(warp.step(command))
        result = batch.step(command)
        for name in ("observations", "next_observations", "rewards", "truncated"):
            ours, theirs = getattr(expected[-1], name).double(), getattr(result, name).double()
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3, err_msg=name)
        if step == 3:
            state = warp.state()
    again = both({"max_episode_steps": 3})[0]
    again.restore(state)
    for command, one in zip(given[4:], expected[4:], strict=True):
        assert torch.equal(again.step(command).observations, one.observations)
    assert warp.numbers() == pytest.approx(batch.numbers(), rel=1e-3, abs=1e-3)
    assert capfd.readouterr().err.count("runs on the CPU here") <= 1  # once a process


@needs_warp
def test_failed_world_on_warp_is_counted_and_reset():
    warp = both({})[0]
    before = warp.reset()
    warp._simulator.fields["qvel"][1] = torch.nan
    result = warp.step(torch.zeros(3, 6))
    assert result.failed.tolist() == result.truncated.tolist() == [False, True, False]
    assert torch.equal(result.next_observations[1], before[1])
    assert result.observations.isfinite().all()
    assert result.observations[1, 8:].abs().max() < 1.0
    result = warp.step(torch.zeros(3, 6))
    assert not result.failed.any()
    assert result.observations.isfinite().all()
    assert warp.numbers()["task/failed_worlds"] == 1.0


@needs_warp
@pytest.mark.extras
def test_world_without_room_is_counted(monkeypatch):
    small = dataclasses.replace(GYMNASIUM["HalfCheetah-v5"](), max_constraints=1)
    monkeypatch.setattr("acer_robot.tasks.make.tensor_task", lambda config: small)
    warp = both({})[0]
    warp.reset()
    for _ in range(6):
        warp.step(torch.ones(3, 6))
    assert warp.numbers()["task/overflows"] == 3.0


@needs_warp
@pytest.mark.extras
def test_models_on_warp_differ_by_world(monkeypatch):
    plain = GYMNASIUM["HalfCheetah-v5"](frame_skip=1)
    masses = torch.from_numpy(plain.model.body_mass)

    def randomize(count, generator):
        return {"body_mass": masses * torch.linspace(0.5, 2.0, count, dtype=torch.float64).unsqueeze(1)}

    changed = dataclasses.replace(plain, randomize=randomize)
    monkeypatch.setattr("acer_robot.tasks.make.tensor_task", lambda config: changed)
    warp, batch = both({})
    np.testing.assert_allclose(warp.reset(), batch.reset(), **CLOSE)
    for _ in range(2):
        results = [task.step(torch.ones(3, 6)).next_observations for task in (warp, batch)]
        np.testing.assert_allclose(*results, rtol=1e-3, atol=1e-3)
    assert (results[0][0] - results[0][2]).abs().max() > 0.1


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = TaskConfig("gymnasium", "HalfCheetah-v5", backend="warp")
    with pytest.raises(InputError, match=r"pip install 'acer-robot\[warp\]'"):
        make_task(config, 2, 0, training_on=CPU)
    make_task(config, 2, 0).reset()  # a score is MuJoCo C's


def test_commands_on_a_gpu_cannot_be_filtered(monkeypatch):
    monkeypatch.setattr(tensor_make, "check_warp", lambda: None)
    config = TaskConfig("gymnasium", "HalfCheetah-v5", slew_rate=3.0, backend="warp")
    with pytest.raises(
        InputError, match=r"slew_rate and task\.low_pass_hz cannot be had with task\.backend=warp"
    ):
        make_task(config, 2, 0, training_on=torch.device("cuda"))


@needs_warp
def test_state_of_actuators_on_warp_is_that_on_batch(tmp_path):
    """act and history start at rest, and a state that is restored has both."""
    settings = own_arm(tmp_path, WITH_STATE["both"])
    warp, batch = (
        make_task(dataclasses.replace(settings, backend=name), 2, 0, training_on=CPU)
        for name in ("warp", "batch")
    )
    np.testing.assert_allclose(warp.reset(), batch.reset(), **CLOSE)
    rest = torch.tensor(warp.spec.bounds.rest, dtype=torch.float64).repeat(2, 1)
    for step in range(7):
        ours, theirs = warp.step(rest), batch.step(rest)
        np.testing.assert_allclose(ours.observations, theirs.observations, **CLOSE)
        if step == 3:  # an episode has one step behind it
            state = warp.state()
            expected = warp.step(rest + 0.3).observations
            warp.restore(state)
            assert torch.equal(warp.step(rest + 0.3).observations, expected)
            batch.step(rest + 0.3)
