"""The default recipe of each family of tasks against docs/departures.md, written again with autograd, to 1e-10."""

import pytest
import torch
from composed import composed_train
from default_update import default_update
from learner_cases import STATE_SIZE, fix_noise, random_batch, shake

from acer_robot.learner.learner import Learner

SMALL = [
    "learner.hidden=[8,7]",
    "learner.advantage_hidden=6",
    "learner.embedding_hidden=5",
    "learner.compile=false",
]


def seasoned(learner):
    """Move all networks away from their start, and from their copies."""
    copies = [learner.embeddings.of_critic, learner.embeddings.of_target] if learner.embeddings else []
    shake(learner.actor, learner.average_actor, learner.critic, learner.target_critic, *copies)
    with torch.no_grad():
        learner.advantage_moment.copy_(torch.tensor([0.05, 0.1]))
        learner.log_temperature.fill_(-1.0)


@pytest.mark.parametrize("task", ["hopper", "walker2d", "halfcheetah", "dmc/walker-run", "dmc/fish-swim"])
def test_update_is_what_departures_says(task):
    config = composed_train(f"task={task}", *SMALL).learner
    learner = Learner(config, STATE_SIZE, 3, torch.device("cpu"), seed=1, dtype=torch.float64)
    seasoned(learner)
    batch = random_batch(learner, 8, 16, seed=5)
    count = 1 + (config.sdn_samples // 2 if config.sdn_antithetic else config.sdn_samples)
    noise = torch.randn(
        (count, *batch.actions.shape), generator=torch.Generator().manual_seed(6), dtype=torch.float64
    )
    told = default_update(learner, batch, noise)
    fix_noise(learner, noise)
    learner.update(batch)
    taken = {
        "actor": learner.flat_actor.values.grad,
        "critic": learner.flat_critic.values.grad,
        "temperature": learner.log_temperature.grad,
    }
    if config.embedding:
        taken["embedding"] = learner.embeddings.flat_learnt.values.grad
    for name, gradient in taken.items():
        expected = torch.cat([part.flatten() for part in told[name]])
        assert expected.abs().max() > 1e-6
        torch.testing.assert_close(gradient.flatten(), expected, rtol=1e-10, atol=1e-12)
    (projected,) = told["projected"]
    assert projected.any(), "a case in which the trust region does nothing tells nothing of it"
    assert not projected.all()
