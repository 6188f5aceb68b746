"""What only a CUDA device can show: the same numbers as on the CPU, no waiting for it, and the update as one graph."""

from __future__ import annotations

import dataclasses
import gc
from contextlib import contextmanager

import pytest
import torch
from learner_cases import fix_noise, moved_to, paper_config, random_batch, random_noise, small_learner

from acer_robot.commands.train import main
from acer_robot.experience.replay import Replay
from acer_robot.learner.cuda_graph import Recorded

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

PAPER = {**dataclasses.asdict(paper_config()), "hidden": [16, 16]}
FALLING = {"std_min_final": 0.1, "entropy_target": -1.0, "entropy_target_final": -2.0, "annealing_start": 0}
OPTIONS = [
    {},
    {"critics": 2, "correction": "pathwise"},
    {"embedding": 4, "embedding_hidden": 6, "embedding_refresh": 2},
    {"priority_exponent": 0.4},
    {**FALLING, "annealing_updates": 3},
    PAPER,
    {**PAPER, "estimator": "tis", "learned_std": True, "std_init": 0.5},
]


@contextmanager
def no_waiting():
    """Raise at whatever makes the host wait for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def updates(learner, device, *, shapes=((6, 3), (6, 3), (5, 2), (6, 3))):
    """Do some updates on segments and noise that every learner like this one gets, and return what they moved."""
    template = small_learner(**{**dataclasses.asdict(learner.config), "compile": False})
    for seed, (length, segments) in enumerate(shapes):
        batch = random_batch(template, length, segments, seed)
        fix_noise(learner, random_noise(template, batch, seed).to(device))
        seen = learner.update(moved_to(batch, device))
        moved = {"z": seen.z.clone(), **{name: value.clone() for name, value in learner.state_dict().items()}}
    return {name: value.cpu() for name, value in moved.items()}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("graph", [False, True])
def test_updates_on_cuda_are_those_of_the_cpu(options, graph):
    cpu, cuda = small_learner(**options), small_learner("cuda", **{**options, "compile": graph})
    cuda.load_state_dict(cpu.state_dict())
    torch.testing.assert_close(updates(cuda, "cuda"), updates(cpu, "cpu"), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("graph", [False, True])
def test_neither_a_batch_nor_an_update_waits_for_the_device(options, graph):
    learner = small_learner("cuda", torch.float32, **{**options, "compile": graph})
    exponent = learner.config.priority_exponent
    replay = Replay(400, 4, 3, 2, 5, torch.device("cuda"), priority_exponent=exponent)
    for seed in range(10):
        step = moved_to(random_batch(small_learner(), 2, 4, seed), "cuda")
        replay.add(type(step)(**{f.name: getattr(step, f.name)[0] for f in dataclasses.fields(step)}))
    learner.update(replay.sample(3))  # records
    with no_waiting():
        with pytest.raises(RuntimeError, match="synchroniz"):
            learner.advantage_moment.sum().item()  # the guard is up
        for _ in range(2):
            replay.learnt(learner.update(replay.sample(3)).ascent.error)
            replay.add(type(step)(**{f.name: getattr(step, f.name)[0] for f in dataclasses.fields(step)}))
    assert learner.updates == 3


def test_each_shape_is_recorded_and_replayed_with_new_values():
    recorded = Recorded(lambda batch, noise: batch.rewards.sum() + noise.sum())
    for seed, shape in enumerate([(5, 2), (4, 2), (5, 2)]):
        batch = moved_to(random_batch(small_learner(), *shape, seed), "cuda")
        expected = float(batch.rewards.sum()) + seed
        noise = torch.full((1,), float(seed), device="cuda", dtype=torch.float64)
        assert float(recorded(batch, noise)) == pytest.approx(expected)


def test_recording_outlives_the_garbage_of_another():
    def function(batch, noise):
        if torch.cuda.is_current_stream_capturing():
            others.clear()
            gc.set_threshold(1)
            _ = [[] for _ in range(10)]  # enough for the collector to come, were it on
        return batch.rewards.sum() + noise.sum()

    others, thresholds = [], gc.get_threshold()
    batch = moved_to(random_batch(small_learner(), 5, 2, 0), "cuda")
    noise = torch.ones(1, device="cuda", dtype=torch.float64)
    recorded = Recorded(function)
    gc.collect()
    gc.set_threshold(10**9)  # what comes now stays among the youngest, which are looked through first
    try:
        others.append(small_learner("cuda", compile=True))
        others[0].update(batch)
        assert float(recorded(batch, noise)) == pytest.approx(float(batch.rewards.sum()) + 1.0)
    finally:
        gc.set_threshold(*thresholds)


def test_a_run_on_cuda_hands_over_a_policy_for_the_cpu(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    small = [
        "learner.hidden=[8,8]",
        "learner.segments=4",
        "learner.segment_length=8",
        "learner.replay_ratio=8",
    ]
    short = ["steps=240", "num_envs=2", "eval_every=120", "eval_episodes=2", "learner.learning_starts=40"]
    options = ["task=gym", "task.id=Pendulum-v1", "device=cuda", "video=false", "wandb.mode=disabled"]
    monkeypatch.setattr("sys.argv", ["acer-train", f"run_dir={folder}", *options, *small, *short])
    main()
    assert "exported and verified" in capsys.readouterr().out
    assert "compile: true" in (folder / "config.yaml").read_text()
    policy = torch.jit.load(folder / "export" / "policy.pt")
    assert {buffer.device.type for buffer in policy.buffers()} == {"cpu"}
