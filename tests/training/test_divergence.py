"""Numbers that go bad: found where they arise, kept so that they can be repeated, and gone back from."""

from __future__ import annotations

import itertools
import json
import sys

import pytest
import torch
from composed import composed_train

from acer_robot.commands import runs as runs_command
from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.learner.learner import Learner
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.incidents import read_incident, write_incident
from acer_robot.run_folder.tables import read_table
from acer_robot.training.run import prepare, train

TINY = [
    "task=gym", "num_envs=2", "steps=400", "eval_every=100", "eval_episodes=2", "video=false", "log_every=20",
    "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]", "learner.advantage_hidden=8",
    "learner.learning_starts=40", "learner.replay_ratio=8", "learner.segments=4", "learner.compile=false",
]  # fmt: skip


def options(tmp_path, task, *overrides):
    return composed_train(f"run_dir='{tmp_path / 'run'}'", *TINY, f"task.id={task}", *overrides)


def shown_again(folder, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["acer-runs", f"replay='{folder}'"])
    runs_command.main()
    return capsys.readouterr().out


def test_unstable_simulation_stops_the_run_and_is_shown_again(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        NonFiniteError, match=r"environment \d of .*simulation is unstable: \d+ of .*timestep"
    ):
        train(options(tmp_path, "unstable_env:Exploding-v0"))
    said = capfd.readouterr()
    assert said.out.count("MuJoCo's simulation became unstable") <= 2, "training and evaluation"
    assert "WARNING: Nan" not in said.err + said.out
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()
    incident = tmp_path / "run/incidents/0"
    assert json.loads((incident / "incident.json").read_text())["environment"] in (0, 1)
    assert "unstable" in shown_again(incident, monkeypatch, capfd).splitlines()[1]


def test_failed_environment_is_shown_again_alone(tmp_path, monkeypatch, capsys):
    with pytest.raises(TaskError):
        train(options(tmp_path, "poisoned_env:Torn-v0"))
    with pytest.raises(NonFiniteError, match="acer-runs replay="):
        train(options(tmp_path / "nan", "poisoned_env:Poisoned-v0"))
    for run, words in (("run", "the cable is torn"), ("nan/run", "observation 1 is nan")):
        again = shown_again(tmp_path / run / "incidents/0", monkeypatch, capsys).splitlines()[1]
        assert words in again
        assert "environment 0, alone: after 101 of 101 commands" in again


def test_wild_reward_is_named_as_the_cause(tmp_path, monkeypatch, capsys):
    task = ["unstable_env:Spiking-v0", "+task.kwargs.reward=1e30"]
    with pytest.raises(
        NonFiniteError, match=r"rewards of its last batch are between .* and 1e\+30|loss/q is inf"
    ):
        train(options(tmp_path, *task))
    again = shown_again(tmp_path / "run/incidents/0", monkeypatch, capsys)
    assert "last batch, rewards: between" in again
    assert "one update of the last good learner on that batch: " in again
    assert "NonFiniteError" in (tmp_path / "run/error.txt").read_text()
    content = read_incident(tmp_path / "run/incidents/0")
    content["config"]["learner"]["value_bins"] = 101
    former = write_incident(tmp_path / "run", {}, content)
    again = shown_again(former, monkeypatch, capsys)
    assert "the update cannot be repeated: the run had learner.value_bins=101, which this version no" in again


@pytest.fixture
def poisoned_once(monkeypatch):
    """Let the learner's temperature be NaN after the 30th update of the process."""
    update, calls = Learner.update, []

    def updated(learner, batch):
        seen = update(learner, batch)
        calls.append(1)
        if len(calls) == 60:
            learner.log_temperature.data.fill_(float("nan"))
        return seen

    monkeypatch.setattr(Learner, "update", updated)


def test_rollback_goes_on_from_the_last_good_checkpoint(tmp_path, poisoned_once, capsys):
    folder = train(options(tmp_path, "unstable_env:Spiking-v0", "on_divergence=rollback"))
    said = capsys.readouterr().out
    assert said.count("training diverged") == 1
    assert "it goes back to environment step" in said
    assert read_checkpoint(folder)["steps"] == 400
    steps = read_table(folder / "metrics.csv")["step"]
    assert steps == sorted(set(steps))
    assert (folder / "incidents/0").is_dir()


def test_rollback_ends_the_former_episodes_in_the_replay(tmp_path):
    run = prepare(options(tmp_path, "Pendulum-v1", "learner.segment_length=4"))
    for attempt in (0, 1):
        if attempt:
            run.change_streams(attempt)
        for _ in range(2):
            run.collector.step()
    continues = run.replay.latest(0, 2).episode_continues
    run.close()
    assert continues.tolist() == [[True, True], [False, False], [True, True], [False, False]]


def test_each_rollback_draws_other_random_numbers(tmp_path):
    drawn = []
    for attempt in (0, 1, 2):
        # As a rollback does, before it restores the checkpoint.
        run = prepare(options(tmp_path, "Pendulum-v1"))
        if attempt:
            run.change_streams(attempt)
        streams = (run.collector._generator, run.replay._generator, run.learner.generator)
        drawn.append([torch.rand(3, generator=stream) for stream in streams])
        drawn[-1].append(run.collector._observations.clone())
        run.close()
    for one, other in itertools.combinations(drawn, 2):
        assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_rollbacks_are_bounded(tmp_path):
    task = [
        "poisoned_env:Poisoned-v0",
        "on_divergence=rollback",
        "max_rollbacks=2",
        "checkpoint.every_minutes=0.01",
    ]
    with pytest.raises(NonFiniteError, match="went back 2 times"):
        train(options(tmp_path, *task))
    assert sorted(path.name for path in (tmp_path / "run/incidents").iterdir()) == ["0", "1", "2"]


def test_divergence_before_the_first_checkpoint_stops(tmp_path):
    with pytest.raises(NonFiniteError, match="no checkpoint to go back to"):
        train(
            options(
                tmp_path, "poisoned_env:Poisoned-v0", "on_divergence=rollback", "learner.learning_starts=350"
            )
        )


def test_damaged_incident_is_one_line(tmp_path):
    with pytest.raises(TaskError):
        train(options(tmp_path, "poisoned_env:Torn-v0"))
    path = tmp_path / "run/incidents/0/incident.pt"
    data = bytearray(path.read_bytes())
    for content in (data[:500], b"", b"pickle"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read_incident(path.parent)


@pytest.mark.parametrize("spike", [1e6, 1e20, 3e38])
def test_one_spike_does_not_blind_the_statistics(spike):
    generator = torch.Generator().manual_seed(0)
    normalizer = ObservationNormalizer(2)
    flagged = 0
    for count in range(4000):
        observations = torch.randn(16, 2, generator=generator)
        if count == 20:
            observations[3, 1] = spike
        flagged += int(normalizer.update(observations).sum())
    assert flagged == 1
    assert normalizer.variance[1] < 25.0
    assert normalizer.variance.isfinite().all()


def test_ordinary_observations_give_the_plain_statistics():
    generator = torch.Generator().manual_seed(0)
    normalizer, seen = ObservationNormalizer(3), []
    for _ in range(50):
        batch = torch.randn(16, 3, generator=generator, dtype=torch.float32) * torch.tensor([1e-4, 1.0, 1e4])
        seen.append(batch)
        assert not normalizer.update(batch).any()
    torch.testing.assert_close(normalizer.variance, torch.cat(seen).var(0, correction=0), rtol=1e-4, atol=0.0)


def test_large_values_that_become_usual_are_learnt():
    normalizer, generator = ObservationNormalizer(1), torch.Generator().manual_seed(0)
    for _ in range(100):
        normalizer.update(1e-3 * torch.randn(16, 1, generator=generator))
    flagged = [
        bool(normalizer.update(1e5 * torch.randn(16, 1, generator=generator)).any()) for _ in range(50)
    ]
    assert flagged[0]
    assert not any(flagged[20:])


def test_spike_is_reported_and_logged(tmp_path, capsys):
    folder = train(options(tmp_path, "unstable_env:Spiking-v0", "+task.kwargs.observation=1e20"))
    assert capsys.readouterr().out.count("observation 1 (observation) spiked") == 1
    assert read_table(folder / "metrics.csv")["rollout/outliers"][-1] == 2.0
    assert read_checkpoint(folder)["learner"]["modules"]["normalizer.variance"].isfinite().all()
