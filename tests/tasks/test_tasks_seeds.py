"""The same seed gives the same numbers; different seeds and different environments do not share theirs."""

import numpy as np
import pytest
import torch

from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task

SHORT = {
    "gymnasium": TaskConfig("gymnasium", "InvertedPendulum-v5"),
    "dm_control": TaskConfig("dm_control", "cartpole-swingup", {"time_limit": 0.1}),
}
"""Tasks whose episodes end within a few steps, so that resets are part of what is compared."""


def rollout(config, seed, num_envs=3, steps=30):
    """Return all that a task of `seed` answers to a fixed list of commands, [1 + steps, B, n]."""
    task = make_task(config, num_envs, seed)
    rng = np.random.default_rng(0)
    observations, ends = [task.reset()], 0
    for _ in range(steps):
        result = task.step(
            torch.as_tensor(task.spec.bounds.to_command(rng.uniform(-1, 1, (1, 1)).repeat(num_envs, 0)))
        )
        observations.append(result.observations)
        ends += int((result.terminated | result.truncated).sum())
    task.close()
    assert ends >= num_envs
    return np.array(observations)


@pytest.mark.parametrize("suite", SHORT)
def test_one_seed_gives_the_same_numbers_through_resets(suite):
    np.testing.assert_array_equal(rollout(SHORT[suite], 7), rollout(SHORT[suite], 7))


@pytest.mark.parametrize("suite", SHORT)
def test_neighbouring_seeds_and_environments_share_no_episode(suite):
    firsts = np.concatenate([rollout(SHORT[suite], seed)[0] for seed in (7, 8, 9)])
    assert len(np.unique(firsts, axis=0)) == 9


@pytest.mark.parametrize("suite", SHORT)
def test_environment_does_not_depend_on_the_others(suite):
    np.testing.assert_array_equal(
        rollout(SHORT[suite], 7, num_envs=4)[:, :2], rollout(SHORT[suite], 7, num_envs=2)
    )


@pytest.mark.parametrize("suite", SHORT)
def test_a_later_reset_continues_the_streams(suite):
    tasks = [make_task(SHORT[suite], 2, seed=7) for _ in range(2)]
    episodes = [[task.reset() for _ in range(3)] for task in tasks]
    np.testing.assert_array_equal(episodes[0], episodes[1])
    assert len(np.unique(np.concatenate(episodes[0]), axis=0)) == 6
    for task in tasks:
        task.close()
