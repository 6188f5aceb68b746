"""Gymnasium's tasks as tensor tasks: the same observations, rewards, ends and starts as Gymnasium's own classes."""

import gymnasium
import numpy as np
import pytest
import torch

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor.batch_simulator import BatchSimulator
from acer_robot.tasks.tensor.known import GYMNASIUM
from acer_robot.tasks.tensor.task import State

STEPS = 300
"""Steps that are compared: long enough for falls, and for forces of many contacts."""
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def state_of(data, fields):
    """Return Gymnasium's simulation as one world."""
    return State({name: torch.from_numpy(np.array(getattr(data, name)))[None] for name in fields}, {})


@pytest.fixture(scope="module", params=GYMNASIUM)
def visited(request):
    """The tensor task, and what Gymnasium's task did with random commands, through several episodes."""
    task, env = GYMNASIUM[request.param](), gymnasium.make(request.param).unwrapped
    random, steps = np.random.default_rng(3), []
    observation = env.reset(seed=5)[0]
    for _ in range(STEPS):
        start = [np.array(getattr(env.data, name)) for name in ("qpos", "qvel", "qacc_warmstart")]
        before = state_of(env.data, task.fields)
        command = random.uniform(env.action_space.low, env.action_space.high).astype(np.float64)
        successor, reward, terminated, _, _ = env.step(command)
        after = state_of(env.data, task.fields)
        steps.append((start, before, observation, command, after, successor, reward, terminated))
        observation = successor if not terminated else env.reset()[0]
    return task, steps


def test_functions_are_gymnasiums(visited):
    task, steps = visited
    ends = 0
    for _, before, observation, command, after, successor, reward, terminated in steps:
        np.testing.assert_allclose(task.observe(before)[0], observation, **CLOSE)
        np.testing.assert_allclose(task.observe(after)[0], successor, **CLOSE)
        terms = task.reward(before, torch.from_numpy(command)[None], after)
        np.testing.assert_allclose(float(sum(terms.values())), reward, **CLOSE)
        assert bool(task.terminated(after)) is bool(terminated)
        ends += terminated
    assert ends > 3 or "HalfCheetah" in task.id or "Ant" in task.id


def test_whole_steps_on_batch_are_gymnasiums(visited):
    task, steps = visited
    steps = steps[::3]
    simulator = BatchSimulator(task.model, len(steps), 2, task.fields)
    starts = [torch.from_numpy(np.stack(parts)) for parts in zip(*(step[0] for step in steps), strict=True)]
    simulator.reset(torch.ones(len(steps), dtype=torch.bool), *starts[:2], {})
    # Two thirds of the steps start within an episode. The solver's start is then that of the step before.
    simulator.write({"qacc_warmstart": starts[2]})
    before = State({name: torch.cat([step[1].fields[name] for step in steps]) for name in task.fields}, {})
    commands = torch.from_numpy(np.stack([step[3] for step in steps]))
    simulator.step({"ctrl": commands}, task.frame_skip)
    after = State(simulator.fields, {})
    np.testing.assert_allclose(task.observe(after), np.stack([step[5] for step in steps]), **CLOSE)
    rewards = sum(task.reward(before, commands, after).values())
    np.testing.assert_allclose(rewards, [step[6] for step in steps], **CLOSE)
    assert task.terminated(after).tolist() == [bool(step[7]) for step in steps]
    if "cfrc_ext" in task.fields:
        assert after.cfrc_ext.abs().max() > 1.0


@pytest.mark.parametrize("name", GYMNASIUM)
def test_specification_is_that_of_the_cpu_backend(name):
    specs = [
        make_task(TaskConfig("gymnasium", name, backend=backend), 1, 0).spec for backend in ("cpu", "batch")
    ]
    assert specs[0] == specs[1]


@pytest.mark.parametrize("name", GYMNASIUM)
def test_starts_are_spread_like_gymnasiums(name):
    env, task = gymnasium.make(name).unwrapped, GYMNASIUM[name]()
    theirs = []
    for _ in range(200):
        env.reset()
        theirs.append(np.concatenate([env.data.qpos, env.data.qvel]))
    qpos, qvel = task.reset(2000, torch.Generator().manual_seed(0))
    ours, theirs = torch.cat([qpos, qvel], dim=1).numpy(), np.stack(theirs)
    scale = ours.std(axis=0).max()
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.35 * scale)
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), atol=0.25 * scale)
    low, high = theirs[:, : env.model.nq].min(axis=0), theirs[:, : env.model.nq].max(axis=0)
    assert (ours[:, : env.model.nq] > low - 0.2 * (high - low)).all()
    assert (ours[:, : env.model.nq] < high + 0.2 * (high - low)).all()


def test_weights_of_gymnasium_are_options():
    kwargs = {"ctrl_cost_weight": 2.0, "frame_skip": 2, "max_episode_steps": 7}
    cpu, batch = (
        make_task(TaskConfig("gymnasium", "HalfCheetah-v5", kwargs, backend=backend), 1, 0)
        for backend in ("cpu", "batch")
    )
    assert cpu.spec == batch.spec
    batch.reset()
    for step in range(7):
        result = batch.step(torch.full((1, 6), 0.5))
        assert bool(result.truncated) is (step == 6)
    assert batch.numbers()["reward/control"] == pytest.approx(-2.0 * 6 * 0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"suite": "dm_control", "id": "walker-walk"},
            "task.suite=dm_control has none; choose one of HalfCheetah-v5, Walker2d-v5",
        ),
        ({"id": "Reacher-v5", "backend": "warp"}, "task.backend=warp needs a task with tensor functions"),
        ({"kwargs": {"xml_file": "a.xml"}}, "task.kwargs names 'xml_file', which Ant-v5 does not take"),
        ({"kwargs": {"frame_skip": 0.5}}, "frame_skip=0.5; expected a whole number above 0"),
        ({"kwargs": {"ctrl_cost_weight": "a"}}, "ctrl_cost_weight='a'; expected a number"),
        ({"backend": "gpu"}, "task.backend='gpu' is not known; choose one of cpu, batch, warp"),
        ({"action_repeat": 2}, "task.kwargs={frame_skip: 10}"),
        ({"bounds": {"knee": [0, 1]}}, "task.bounds names joint 'knee'"),
    ],
)
def test_unusable_options_are_named(options, message):
    with pytest.raises(InputError) as error:
        make_task(TaskConfig(**{"suite": "gymnasium", "id": "Ant-v5", "backend": "batch"} | options), 1, 0)
    assert message in str(error.value)
