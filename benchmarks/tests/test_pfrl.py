"""PFRL's ACER beside ours: the adapter hands on what it is given, and both compute the same gradients."""

from __future__ import annotations

import csv
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from learner_cases import gradients_of
from torch.distributions import Independent, Normal

from acer_robot.errors import InputError
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.learner import Learner
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig
from acer_robot.spec import ActionBounds

pytest.importorskip("pfrl")

import pfrl_acer
import pfrl_adapter

PAPER = {
    "c": 5.0, "correction": "score", "trace_exponent": 1.0, "lr": 3e-4,
    "squash": "clip", "learned_std": False, "std_init": 0.3, "mean_bound": None, "layer_norm": False,
    "normalize_observations": False, "advantage_scaling": False, "entropy_target": None, "entropy_target_final": None,
    "target_alpha": 0.0, "critics": 1, "segments": 1, "replay_ratio": 1.0, "hidden": [16, 8], "advantage_hidden": 6,
}  # fmt: skip
N, D, T = 4, 2, 7


def options(**changes):
    return LearnerConfig(**PAPER | {"segment_length": T, "learning_starts": 1} | changes)


def segment(terminated):
    """T steps of an off-policy episode that ends with the last of them."""
    torch.manual_seed(3)
    flags = torch.zeros(T, 1, dtype=torch.bool)
    ends = flags.clone()
    ends[-1] = True
    mean = 0.3 * torch.randn(T, 1, D)
    states = torch.randn(T + 1, 1, N)  # inside an episode the successor is the next observation
    return Trajectory(
        states[:-1],
        states[1:],
        mean + 0.3 * torch.randn(T, 1, D),
        torch.randn(T, 1),
        ends if terminated else flags,
        flags if terminated else ends,
        mean,
        torch.full((T, 1, D), 0.3).log(),
    )


def pairs(learner, model):
    """Parameters of ours beside those of PFRL's networks, of the same shape."""
    head = model[1]
    found = []
    for ours, theirs in ((learner.actor.trunk, head.pi[1]), (learner.critic.trunk, model[0].trunk)):
        found += [(ours[i], theirs[i]) for i in (0, 2)]
    critic = learner.critic
    found += [(learner.actor.head, head.pi[2]), (critic.value_head, head.v[1])]
    found += [(critic.advantage_state, model[0].advantage_state), (critic.advantage_head, head.adv.out)]
    for ours, theirs in found:
        for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            yield (a if a.dim() == b.dim() else a[0].mT if b.dim() == 2 else a.flatten()), a, b


def both_update(config, batch):
    """One update of each from equal parameters; return (ours, theirs) gradients of actor, V and trunk."""
    learner = Learner(config, N, D, torch.device("cpu"), seed=1)
    buffer = pfrl_adapter.CountingBuffer(100)
    agent = pfrl_adapter.build_agent(config, N, D, buffer)
    # An advantage that does not depend on the action: then no estimate depends on what either of them draws.
    torch.nn.init.zeros_(learner.critic.advantage_action)
    torch.nn.init.normal_(learner.actor.head.weight, std=0.3)
    learner.flat_average.values.copy_(learner.flat_actor.values)
    for models in (agent.model, agent.shared_model, agent.shared_average_model):
        torch.nn.init.zeros_(models[1].adv.action.weight)
        for view, _, theirs in pairs(learner, models):
            theirs.data.copy_(view.detach())
    # An average policy that lies apart, so that the trust region has something to project on.
    learner.average_actor.head.bias.data += 0.2
    agent.shared_average_model[1].pi[2].bias.data += 0.2
    for t in range(T):
        mu = Independent(Normal(batch.behaviour_mean[t], batch.behaviour_log_std[t].exp()), 1)
        buffer.append(
            batch.observations[t, 0].numpy(),
            batch.actions[t, 0].numpy(),
            float(batch.rewards[t, 0]),
            batch.next_observations[t, 0].numpy(),
            is_state_terminal=bool(batch.terminated[t, 0]),
            mu=mu,
        )
    buffer.stop_current_episode()
    learner.update(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent.update_from_replay()
    for module, gradients in zip((learner.actor, learner.critic), gradients_of(learner), strict=True):
        for parameter, gradient in zip(module.parameters(), gradients, strict=True):
            parameter.grad = gradient
    found = list(pairs(learner, agent.shared_model))
    return [(a.grad.mT[0] if a.dim() == 3 and b.dim() == 2 else a.grad, b.grad) for _, a, b in found]


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("delta", [1e9, 0.1])
def test_pfrl_and_ours_compute_the_same_gradients(terminated, delta):
    """Returns, truncations, projection and losses of the two, on one off-policy segment in one state of learning."""
    gradients = both_update(options(delta=delta), segment(terminated))
    assert len(gradients) == 16
    moved = [float(ours.abs().max()) for ours, _ in gradients]
    assert (
        sum(value > 1e-3 for value in moved) >= 10
    )  # actor, trunk and V; not the heads of the idle advantage
    for ours, theirs in gradients:
        torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-6)


class Scripted:
    """A Gymnasium environment that plays a list of (terminated, truncated) and notes what it is given."""

    action_space = Box(-2.0, 2.0, (1,))

    def __init__(self, *ends):
        self.ends, self.seeds, self.actions = list(ends), [], []

    def reset(self, seed=None):
        self.seeds.append(seed)
        return np.zeros(3), {}

    def step(self, action):
        self.actions.append(float(action[0]))
        return np.ones(3), np.float64(1.5), *self.ends.pop(0), {"more": 1}


def test_a_time_limit_needs_a_reset_and_is_no_end_of_the_task():
    env = Scripted((False, False), (False, True), (True, False), (True, True))
    old = pfrl_adapter.OldGym(env, ActionBounds(("joint",), (-2.0,), (2.0,)), np.int64(5))
    assert old.reset().dtype == np.float32
    old.reset()
    assert env.seeds == [5, None]
    assert type(env.seeds[0]) is int
    steps = [old.step(np.array([action], dtype=np.float32)) for action in (0.5, -0.25, 7.0, -7.0)]
    assert [(done, info) for _, _, done, info in steps] == [
        (False, {"needs_reset": False}),
        (False, {"needs_reset": True}),
        (True, {"needs_reset": False}),
        (True, {"needs_reset": True}),
    ]
    assert env.actions == [1.0, -0.5, 2.0, -2.0]
    assert all(type(reward) is float for _, reward, _, _ in steps)


def config(folder, **changes):
    learner = options(segment_length=50, learning_starts=200, replay_ratio=4.0, replay_size=1000, **changes)
    task = TaskConfig(suite="gymnasium", id="Pendulum-v1")
    return TrainConfig(
        task,
        learner,
        steps=500,
        num_envs=1,
        eval_episodes=1,
        eval_every=250,
        log_every=100,
        run_dir=str(folder),
    )


def test_short_run_replays_as_often_as_ours(tmp_path):
    """Four segments of 50 at each 50th step from the 200th on, the end of PFRL's first episode."""
    buffer = pfrl_adapter.train_pfrl(config(tmp_path / "theirs"))
    assert buffer.replayed == 4 * (500 - 200) + 4 * 50
    rows = list(csv.DictReader((tmp_path / "theirs" / "eval.csv").open()))
    assert [row["step"] for row in rows] == ["250", "500"]
    assert float(rows[0]["seconds"]) < float(rows[1]["seconds"])
    assert all(-2000 < float(row["eval/return_mean"]) < 0 for row in rows)
    assert rows[0]["eval/length_mean"] == "200.0"
    pfrl_acer.train_ours(config(tmp_path / "ours"))
    ours = list(csv.DictReader((tmp_path / "ours" / "eval.csv").open()))
    assert list(ours[0]) == list(rows[0])
    updates = list(csv.DictReader((tmp_path / "ours" / "metrics.csv").open()))[-1]["time/updates"]
    assert float(updates) * 50 == pytest.approx(4 * (500 - 200), abs=50)


@pytest.mark.parametrize("changes", [{"poisson": True}, {"critics": 2}, {"squash": "tanh"}, {"segments": 2}])
def test_what_pfrl_has_not_is_refused(tmp_path, changes):
    (name,) = changes
    with pytest.raises(InputError, match=f"learner.{name}="):
        pfrl_adapter.train_pfrl(config(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_the_optimiser_is_as_new():
    model = torch.nn.Linear(2, 1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = pfrl_adapter.shared_adam(model, 1e-3)
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.is_shared()
    states = [SimpleNamespace(**state) for state in optimizer.state.values()]
    assert len(states) == 2
    for state in states:
        assert float(state.step) == 0.0
        assert not state.exp_avg.any()
        assert not state.exp_avg_sq.any()
        assert state.step.is_shared()
        assert state.exp_avg.is_shared()
