"""Worlds of a tensor task: true successors, episodes, memory, randomised models, state, worlds that break down."""

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tensor_cases import FAR, cart, commands, worlds

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor.known import tensor_task
from acer_robot.tasks.tensor.make import SPREAD_FROM, make_tensor_task

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tensor_tasks.md"


def run(task, given):
    return [task.step(command) for command in given]


def test_successor_is_before_the_reset_and_observation_after_it():
    task = worlds(cart(time_limit=30), 6)
    observations = task.reset()
    ended = {"terminated": 0, "truncated": 0}
    for command in commands(6, 100):
        result = task.step(command)
        over = result.terminated | result.truncated
        assert torch.equal(result.observations[~over], result.next_observations[~over])
        assert torch.equal(result.terminated, result.next_observations[:, 0].abs() > FAR)
        assert (result.observations[over, 0].abs() <= 0.1).all()
        assert (result.observations[over, 1] == 0.0).all()
        moved = (result.next_observations[:, 0] - observations[:, 0]).abs()
        fastest = result.next_observations[:, 1].abs().maximum(observations[:, 1].abs())
        assert (moved <= 0.02 * fastest + 1e-6).all()
        observations = result.observations
        ended["terminated"] += int(result.terminated.sum())
        ended["truncated"] += int(result.truncated.sum())
    assert min(ended.values()) > 2


def test_memory_is_that_of_the_episode():
    task = worlds(cart(time_limit=15), 3)
    speeds = [task.reset()[:, 2]]
    for step, command in enumerate(commands(3, 40) * 0.1, start=1):
        result = task.step(command)
        assert torch.equal(result.next_observations[:, 3], command[:, 0].float())
        changed = result.next_observations[:, 2] != speeds[-1]
        assert changed.all() if step % 15 == 10 else not changed.any()
        if step % 15 == 0:
            assert result.truncated.all()
            assert (result.observations[:, 2] != result.next_observations[:, 2]).all()
            assert (result.observations[:, 3] == 0.0).all()
        speeds.append(result.observations[:, 2])


def test_models_differ_by_world_and_episode():
    task = worlds(cart(time_limit=5), 4)
    task.reset()
    speeds = []
    for step in range(10):
        result = task.step(torch.full((4, 1), 0.5))
        if step % 5 == 1:
            speeds.append(result.next_observations[:, 1])
            masses = task._simulator._batch.expand("body_mass")[:, 1]
            # 5 N for two steps of 0.02 s
            np.testing.assert_allclose(speeds[-1].numpy(), 5.0 * 0.04 / masses, rtol=1e-5)
    assert len(torch.cat(speeds).unique()) == 8


def test_reward_is_the_sum_of_its_terms():
    task = worlds(cart(), 2)
    task.reset()
    rewards = torch.stack([result.rewards for result in run(task, commands(2, 10))])
    numbers = task.numbers()
    assert numbers["reward/speed"] + numbers["reward/change"] == pytest.approx(float(rewards.mean()))
    assert numbers["task/failed_worlds"] == 0.0
    first = run(task, commands(2, 1))[0].rewards
    assert sum(value for name, value in task.numbers().items() if "reward" in name) == pytest.approx(
        float(first.mean())
    )


def test_same_seed_gives_the_same_numbers():
    tasks = [worlds(cart(), 3, seed) for seed in (4, 4, 5)]
    starts = [task.reset() for task in tasks]
    results = [run(task, commands(3, 50)) for task in tasks]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    for one, two in zip(*results[:2], strict=True):
        assert torch.equal(one.observations, two.observations)
        assert torch.equal(one.rewards, two.rewards)
    tasks[0].reseed(5)
    assert torch.equal(tasks[0].reset(), starts[2])


@pytest.mark.parametrize("options", [{}, {"slew_rate": 4.0}, {"low_pass_hz": 5.0}])
def test_restored_task_goes_on_bit_for_bit(options):
    given = commands(3, 70)
    task = worlds(cart(), 3, **options)
    task.reset()
    run(task, given[:33])
    file = io.BytesIO()
    torch.save(task.state(), file)
    expected = run(task, given[33:])
    numbers = task.numbers()
    again = worlds(cart(), 3, **options)
    again.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for one, two in zip(expected, run(again, given[33:]), strict=True):
        for name in ("observations", "next_observations", "rewards", "terminated", "truncated"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert again.numbers() == numbers


def test_restored_ant_goes_on_bit_for_bit():
    """Its reward reads positions and forces that MuJoCo computed before the state was taken."""
    config = TaskConfig("gymnasium", "Ant-v5", {"max_episode_steps": 20}, backend="batch")
    task, again = (make_task(config, 2, 0) for _ in range(2))
    given = torch.rand(40, 2, 8, generator=torch.Generator().manual_seed(1)) * 2.0 - 1.0
    task.reset()
    run(task, given[:13])
    again.restore(task.state())
    for one, two in zip(run(task, given[13:]), run(again, given[13:]), strict=True):
        assert torch.equal(one.observations, two.observations)
        assert torch.equal(one.rewards, two.rewards)


def test_state_of_other_worlds_is_refused():
    task, other = worlds(cart(), 3), worlds(cart(), 2)
    task.reset()
    with pytest.raises(InputError, match="shape"):
        other.restore(task.state())


def test_state_of_another_kind_of_device_is_refused():
    task = worlds(cart(), 2)
    task.reset()
    of_cuda = task.state() | {"generator": torch.zeros(16, dtype=torch.uint8)}  # as large as that of CUDA
    with pytest.raises(InputError, match="random numbers are those of another kind of device than cpu"):
        task.restore(of_cuda)


def test_last_command_is_observed_where_commands_are_limited():
    task = worlds(cart(), 2, slew_rate=10.0)
    assert task.reset().shape == (2, 5)
    result = task.step(torch.ones(2, 1))
    # 10 per second in a step of 0.02 s
    torch.testing.assert_close(result.observations[:, 4], torch.full((2,), 0.2))
    torch.testing.assert_close(result.observations[:, 3], torch.full((2,), 0.2))


def test_first_episodes_of_many_worlds_are_spread():
    config = TaskConfig(
        "gymnasium", "HalfCheetah-v5", {"max_episode_steps": 50, "frame_skip": 1}, backend="batch"
    )

    def ends(count, training_on):
        task = make_tensor_task(tensor_task(config), config, count, 0, training_on=training_on)
        task.reset()
        zero = torch.zeros(count, 6)
        return torch.stack([task.step(zero).truncated for _ in range(50)])

    spread = ends(SPREAD_FROM, torch.device("cpu"))
    assert spread.any(0).all()
    assert spread.sum(1).max() < 20
    together = ends(SPREAD_FROM, None)  # a score needs whole episodes
    assert together[:-1].sum() == 0
    assert together[-1].all()


def broken(task, world):
    """Let MuJoCo find a world unstable in the next step."""
    task._simulator.fields["qvel"][world] = 1e30


def test_failed_world_is_counted_reset_and_named_once(capfd):
    task = worlds(cart(), 3)
    task.reset()
    before = run(task, commands(3, 3))[-1].observations
    for number in (1, 2):
        broken(task, 1)
        result = task.step(torch.zeros(3, 1))
        assert result.failed.tolist() == [False, True, False]
        assert result.truncated.tolist() == [False, True, False]
        assert not result.terminated.any()
        assert result.rewards[1] == 0.0
        assert torch.equal(result.next_observations[1], before[1])
        assert result.observations[1].abs().max() < 1.5
        assert result.observations[1, 1] == 0.0
        assert task.numbers()["task/failed_worlds"] == number
        before = task.step(torch.zeros(3, 1)).observations
    err = capfd.readouterr().err
    assert err.count("became unstable") == 1
    assert "world 1 of cart became unstable at step 4 of its episode" in err


def test_reward_that_is_nan_fails_its_world():
    plain = cart()

    def reward(before, command, after):
        terms = plain.reward(before, command, after)
        return {**terms, "odd": torch.where(command[:, 0] > 0.9, torch.nan, 0.0)}

    task = worlds(dataclasses.replace(plain, reward=reward), 2, quiet=True)
    task.reset()
    result = task.step(torch.tensor([[1.0], [0.0]]))
    assert result.failed.tolist() == [True, False]
    assert torch.isfinite(result.rewards).all()
    assert np.isfinite(list(task.numbers().values())).all()


def test_unusable_commands_are_named():
    task = worlds(cart(), 2)
    task.reset()
    with pytest.raises(NonFiniteError, match="world 1 of cart: the command of joint 'rail' is NaN"):
        task.step(torch.tensor([[0.0], [torch.nan]]))
    with pytest.raises(ValueError, match=r"shape \(1, 1\); expected \(2, 1\)"):
        task.step(torch.zeros(1, 1))


def test_task_that_starts_unstable_is_refused():
    plain = cart()
    wild = dataclasses.replace(
        plain, apply=lambda before, command: {"ctrl": command, "qvel": before.qvel + 1e30}
    )
    with pytest.raises(InputError, match="4 of 4 worlds become unstable within 5 steps"):
        make_tensor_task(wild, TaskConfig("robot", "cart", backend="batch"), 2, 0)
    lost = dataclasses.replace(plain, observe=lambda state: plain.observe(state) * torch.nan)
    with pytest.raises(
        InputError, match="cannot start: world 0 of cart: observation 0 at the start is not finite"
    ):
        make_tensor_task(lost, TaskConfig("robot", "cart", backend="batch"), 2, 0)


def test_field_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="field 'qpas'"):
        worlds(dataclasses.replace(cart(), fields=("qpas",)), 1)
    task = worlds(dataclasses.replace(cart(), fields=("qpos",)), 1)
    with pytest.raises(AttributeError, match="does not list the field 'qvel'; it lists qpos"):
        task.reset()


def test_push_reaches_the_simulation():
    task = worlds(cart(), 2)
    task.reset()
    task.add_velocity(np.array([3.0]))
    result = task.step(torch.zeros(2, 1))
    torch.testing.assert_close(result.observations[:, 1], torch.tensor([3.0, 0.0]))
    model, data = task.simulation()
    assert data.qvel[0] == pytest.approx(3.0)
    assert model.body_mass[1] == task._simulator._batch.expand("body_mass")[0, 1]
    assert task.position()[0] == pytest.approx(data.xpos[1, 0])


def test_example_of_the_docs_is_a_task():
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.S).group(1)
    assert len(code.splitlines()) < 100
    names = {}
    exec(code, names)
    task = worlds(names["cart"](), 4)
    start = task.reset()
    result = task.step(torch.ones(4, 1))
    assert (result.observations[:, 0] > start[:, 0]).all()
    assert torch.equal(result.observations[:, 1], start[:, 1])
    assert task.numbers()["reward/effort"] == pytest.approx(-0.01)
