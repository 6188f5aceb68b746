"""What the collector stores is what happened: pre-squash samples, mu's statistics, true successors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from learner_cases import small_learner

from acer_robot.acer import gaussian_log_prob
from acer_robot.errors import NonFiniteError
from acer_robot.experience.collector import Collector
from acer_robot.experience.replay import Replay
from acer_robot.spec import ActionBounds

CPU = torch.device("cpu")
BOUNDS = ActionBounds(("a", "b"), (-1.0, 2.0), (3.0, 6.0))


class CountingTask:
    """Two environments whose observation counts steps; episodes last 3 steps, the reset observation is -100."""

    num_envs, device, unstable_steps = 2, CPU, 0
    spec = SimpleNamespace(id="counting", bounds=BOUNDS)

    def __init__(self, fails=False):
        self.commands, self.count, self.fails = [], 0, fails

    def reset(self):
        return torch.zeros(2, 3)

    def step(self, commands):
        self.commands.append(commands)
        self.count += 1
        ends = self.count % 3 == 0
        successor = torch.full((2, 3), float(self.count))
        rewards = torch.tensor([1.0, 10.0], dtype=torch.float64)
        if self.fails:
            raise NonFiniteError("the reward is NaN")
        return SimpleNamespace(
            observations=torch.full((2, 3), -100.0) if ends else successor,
            next_observations=successor,
            rewards=rewards,
            terminated=torch.tensor([ends, False]),
            truncated=torch.tensor([False, ends]),
            env_steps=torch.tensor([2, 2]),
            failed=None,
        )


def collector_for(task, **options):
    learner = small_learner(dtype=torch.float32, **options)
    replay = Replay(40, 2, 3, 2, 4, CPU)
    return Collector(task, learner.policy, replay, CPU, seed=3), learner, replay


def test_true_successors_ends_and_returns_are_kept_apart():
    task = CountingTask()
    collector, _, replay = collector_for(task)
    finished = [collector.step() for _ in range(4)]
    batch = replay.sample(1)  # the one segment that is there
    finished += [collector.step() for _ in range(2)]
    assert batch.observations[:, 0, 0].tolist() == [0.0, 1.0, 2.0, -100.0]
    assert batch.next_observations[:, 0, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (batch.terminated | batch.truncated)[:, 0].tolist() == [False, False, True, False]
    assert finished == 2 * [[], [], [3.0, 30.0]]
    assert collector.env_steps == 24
    assert collector.transitions == 12


def test_returns_are_read_from_a_gpu_only_when_asked_for():
    collector, _, _ = collector_for(CountingTask())
    collector._reads = False  # as where the task is on a GPU
    assert [collector.step() for _ in range(6)] == 6 * [[]]
    assert collector.finished() == 2 * [3.0, 30.0]
    assert collector.finished() == []
    assert collector.env_steps == 12


@pytest.mark.parametrize("squash", ["tanh", "clip"])
def test_trap_10_sample_before_the_squash_is_stored(squash):
    """Trap 10: the sample before the squash is stored, with its own density."""
    task = CountingTask()
    collector, learner, replay = collector_for(task, squash=squash, std_init=0.99)
    for _ in range(4):
        collector.step()
    batch = replay.sample(32)
    squashed = torch.tanh(batch.actions) if squash == "tanh" else batch.actions.clamp(-1, 1)
    sent = np.stack(task.commands)[np.newaxis]
    expected = BOUNDS.to_command(squashed.numpy())
    assert batch.actions.abs().max() > 1.0, "samples beyond the squash's range must stay as they were drawn"
    for command in expected.reshape(-1, 2):
        assert np.isclose(sent.reshape(-1, 2), command, atol=1e-6).all(-1).any()
    # One step of a fresh collector: mu is the policy before any statistics changed.
    mean, log_std = learner.policy(batch.observations[-1])
    rho = gaussian_log_prob(batch.actions[-1], mean, log_std) - gaussian_log_prob(
        batch.actions[-1], batch.behaviour_mean[-1], batch.behaviour_log_std[-1]
    )
    torch.testing.assert_close(rho, torch.zeros_like(rho), atol=1e-4, rtol=0.0)


def test_the_statistics_learn_each_observation_that_is_acted_on():
    collector, learner, _ = collector_for(CountingTask())
    for _ in range(3):
        collector.step()
    # Acted on: 0, 1, 2 in both environments.
    torch.testing.assert_close(learner.normalizer.mean, torch.full((3,), 1.0))
    torch.testing.assert_close(learner.normalizer.variance, torch.full((3,), 2.0 / 3.0))


def test_nothing_of_a_failed_step_is_stored():
    collector, _, replay = collector_for(CountingTask(fails=True))
    with pytest.raises(NonFiniteError, match="the reward is NaN"):
        collector.step()
    assert (replay.size, collector.env_steps, collector.transitions) == (0, 0, 0)
