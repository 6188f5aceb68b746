"""Signal and noise of policy gradients: gradients with a known mean, and a short run."""

from __future__ import annotations

import sys

import gradient_noise
import pytest
import torch
from timing.fresh_learner import filled_replay, learner_options

from acer_robot.errors import InputError
from acer_robot.learner.learner import Learner
from acer_robot.schema import LearnerConfig, TaskConfig, TrainConfig, WandbConfig
from acer_robot.training.run import train

CPU = torch.device("cpu")


def gradients(mean, noise, count=4000, size=20):
    generator, found = torch.Generator().manual_seed(0), gradient_noise.Gradients()
    direction = torch.zeros(size)
    direction[0] = mean
    for _ in range(count):
        found.add(direction + noise * torch.randn(size, generator=generator))
    return found


def test_signal_of_a_known_mean():
    found = gradients(mean=0.5, noise=1.0)
    assert found.signal() == pytest.approx(0.25, abs=0.03)
    assert found.squared() == pytest.approx(20.25, rel=0.02)


def test_noise_alone_has_no_signal():
    """The squared length of the sample mean is some 5 here, of noise alone."""
    found = gradients(mean=0.0, noise=1.0, count=400, size=2000)
    assert float((found.total / found.count).square().sum()) > 4.0
    assert abs(found.signal()) < 1.0


def test_equal_gradients_are_all_signal():
    found = gradients(mean=2.0, noise=0.0, count=5)
    assert found.signal() == pytest.approx(found.squared()) == pytest.approx(4.0)


def test_effective_share_of_the_states():
    assert gradient_noise.effective_share(torch.full((8,), 0.3)) == pytest.approx(1.0)
    assert gradient_noise.effective_share(torch.eye(8)[0]) == pytest.approx(1 / 8)


def test_quantiles_and_share_beyond_c():
    ratios = gradient_noise.Ratios(torch.linspace(0.1, 2.1, 101).log(), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    quantiles, _, beyond = (line[1] for line in ratios.lines(5.0))
    assert quantiles == "0.2 0.6 1.1 1.6 2"
    assert beyond == "0.500"  # of 1, e, e^2 and e^3


def test_measuring_changes_nothing_and_more_segments_have_less_noise():
    options = learner_options(["learner.hidden=[16,16]", "learner.segment_length=4", "learner.compile=false"])
    learner, replay = Learner(options, 17, 6, CPU), filled_replay(options, CPU, steps=50)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    shares = []
    for segments in (1, 32):
        halves, ratios = gradient_noise.measure(learner, replay, segments, batches=60)
        assert ratios.log_rho.shape == (60 * 4 * segments,)
        assert [half.count for half in halves] == [30, 30]
        shares.append(sum(half.signal() for half in halves) / sum(half.squared() for half in halves))
    assert shares[0] < shares[1]
    assert learner.updates == 0
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    learner = LearnerConfig(
        hidden=[16],
        advantage_hidden=16,
        segments=4,
        correction="score",
        c=5.0,
        learning_starts=100,
        compile=False,
    )
    config = TrainConfig(
        task=TaskConfig("gymnasium", "InvertedPendulum-v5"), learner=learner, wandb=WandbConfig("disabled"),
        run_dir=str(folder), steps=400, num_envs=4, eval_every=400, eval_episodes=1, video=False, hand_over=False,
    )  # fmt: skip
    return train(config)


def test_table_of_a_run(run_dir, monkeypatch, capsys):
    page = run_dir.parent / "page.md"
    monkeypatch.setattr(
        sys, "argv", ["gradient_noise.py", str(run_dir), "--batches", "6", "--report", str(page)]
    )
    gradient_noise.main()
    text = page.read_text()
    assert text.partition("## run")[2].strip() in capsys.readouterr().out
    assert "InvertedPendulum-v5, step 400" in text
    names = ("the run's own (c = 5, score)", "the same, not projected", "score function", "pathwise")
    assert all(text.count(name) == 2 for name in names)
    assert "share of states with rho' > c = 5" in text


def test_too_few_batches_are_refused(run_dir, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gradient_noise.py", str(run_dir), "--batches", "3"])
    with pytest.raises(InputError, match="--batches 3 are too few"):
        gradient_noise.main()


def test_run_of_another_estimator_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("learner: {estimator: tis}\n")
    with pytest.raises(InputError, match=r"trained with learner\.estimator=tis"):
        gradient_noise.load(tmp_path)
