"""The scripted module: parity with the training-side policy, and its promises for every float32 input."""

import json
import warnings

import numpy as np
import pytest
import torch
from exported import make_bounds, make_policy, make_run, ordinary_observations

from acer_robot.deployment.export import describe
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported, save_exported, weights_sha256
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.spec import fallback_command

NETWORKS = {
    "default": {},
    "without layer norm": {"layer_norm": False},
    "clipped": {"squash": "clip"},
    "unbounded mean": {"mean_bound": None},
    "fixed std": {"learned_std": False},
    "raw observations": {"normalize_observations": False},
    "one layer": {"hidden": [7]},
    "three layers": {"hidden": [16, 8, 4], "layer_norm": False, "squash": "clip", "mean_bound": None},
}


def exported(run, folder):
    """Save and load, so that what is tested is the archive."""
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), folder / "policy.pt")
    return load_exported(folder / "policy.pt")


def any_float32(rows, width, seed=0):
    """Random bit patterns: every float32 there is, NaN and infinity among them."""
    bits = np.random.default_rng(seed).integers(0, 2**32, (rows, width), dtype=np.uint32)
    return torch.from_numpy(bits.view(np.float32))


@pytest.mark.parametrize("learner", NETWORKS.values(), ids=NETWORKS)
def test_parity_with_the_training_side_policy(learner, tmp_path):
    policy = make_policy(**learner)
    run = make_run(policy, **learner)
    rows = ordinary_observations(policy)
    rows[:5] *= 1e6
    expected = run.spec.bounds.to_command(policy.act(torch.from_numpy(rows)).double().numpy())
    assert np.ptp(expected, axis=0).min() > 0.1, "the test policy must use its range"
    module = exported(run, tmp_path).module
    np.testing.assert_allclose(module(torch.from_numpy(rows)).numpy(), expected, atol=1e-5)
    for row, command in zip(torch.from_numpy(rows), expected, strict=True):
        single = module(row)
        assert single.shape == (4,)
        np.testing.assert_allclose(single.numpy(), command, atol=1e-5)


@pytest.mark.parametrize("learner", NETWORKS.values(), ids=NETWORKS)
def test_no_input_leaves_the_bounds(learner, tmp_path):
    bounds = make_bounds([-0.1, 0.7, -7e-9, -1e5 - 0.005], [0.1, 1.1, 3e-9, 0.4])
    assert (np.float32(bounds.low) < bounds.low).all(), "the test wants bounds that float32 rounds outwards"
    assert (np.float32(bounds.high) > bounds.high).all()
    module = exported(make_run(make_policy(**learner), bounds, **learner), tmp_path).module
    for batch in (any_float32(20_000, 5), torch.full((3, 5), 3e38), torch.full((3, 5), -1e-45)):
        commands = module(batch).double().numpy()
        assert (commands >= bounds.low).all()
        assert (commands <= bounds.high).all()


def test_saturated_commands_reach_their_bounds_and_no_further():
    # Of many joints some have a middle and a half range whose sum rounds to just outside.
    low, high = np.sort(np.random.default_rng(0).uniform(-1, 1, (2, 300)), axis=0)
    bounds = make_bounds(low, high)
    policy = make_policy(joints=300, mean_bound=None)
    policy.actor.head.weight.mul_(1e4)
    commands = ExportedPolicy(policy, make_run(policy, bounds).spec)(
        torch.from_numpy(ordinary_observations(policy))
    ).double()
    low, high = torch.tensor([bounds.low, bounds.high], dtype=torch.float64)
    assert ((commands >= low) & (commands <= high)).all()
    to_a_bound = torch.minimum(commands - low, high - commands).min(0).values
    assert to_a_bound.max() <= 1e-7, "a joint cannot use its range"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_row_gives_the_fallback(bad, tmp_path):
    run = make_run()
    module = exported(run, tmp_path).module
    rows = torch.from_numpy(ordinary_observations(run.policy, 6))
    before = module(rows)
    rows[2, 4] = rows[5, 0] = bad
    commands, usable = module.act(rows)
    assert usable.tolist() == [True, True, False, True, True, False]
    fallback = torch.tensor([0.0, 0.0, 0.0, -2.0])  # zero where the joint allows it, else its middle
    assert torch.equal(commands[2], fallback)
    assert torch.equal(commands[5], fallback)
    assert torch.equal(commands[usable], before[usable])
    command, is_usable = module.act(rows[2])
    assert torch.equal(command, fallback)
    assert is_usable.shape == ()
    assert not is_usable


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 2.0, 0.0),
        (-2.0, 0.0, 0.0),
        (0.5, 2.0, 1.25),
        (-3.0, -1.0, -2.0),
        (0.1, 0.1, np.float32(0.1)),
        (1e-45, 3e-45, 3e-45),
        (-1e300, 1e300, 0.0),
    ],
)
def test_fallback_command(low, high, expected):
    assert fallback_command(make_bounds([low], [high]))[0] == pytest.approx(expected, rel=1e-7, abs=2e-45)


def test_equal_one_sided_tiny_and_huge_ranges():
    cases = {
        (0.1, 0.1): 1e-8,
        (0.0, 5.0): 0.0,
        (2.0, 2.0 + 1e-12): 0.0,
        (-1e38, 3e38): 0.0,
        (-3e38, 3e38): 0.0,
    }
    bounds = make_bounds(*zip(*cases, strict=True))
    policy = make_policy(joints=len(cases))
    module = ExportedPolicy(policy, make_run(policy, bounds).spec)
    for batch in (torch.from_numpy(ordinary_observations(policy)), any_float32(1000, 5)):
        commands = module(batch).double()
        for joint, ((low, high), rounding) in enumerate(cases.items()):
            values = commands[:, joint]
            assert ((values >= low - rounding) & (values <= high + rounding)).all(), (low, high)
            assert torch.isfinite(values).all()
    expected = bounds.to_command(policy.act(torch.from_numpy(ordinary_observations(policy))).double().numpy())
    got = module(torch.from_numpy(ordinary_observations(policy))).double().numpy()
    np.testing.assert_allclose(got / [1, 1, 1, 1e38, 3e38], expected / [1, 1, 1, 1e38, 3e38], atol=1e-5)


def test_wrong_shapes_are_refused_with_both_widths(tmp_path):
    module = exported(make_run(), tmp_path).module
    for wrong in (torch.zeros(7), torch.zeros(3, 7), torch.zeros(2, 3, 7)):
        with pytest.raises(torch.jit.Error, match="width 7; this policy expects 5"):
            module(wrong)
    for wrong in (
        torch.zeros(2, 3, 5),
        torch.zeros(5, dtype=torch.float64),
        torch.zeros(5, dtype=torch.int64),
    ):
        with pytest.raises(torch.jit.Error, match="float32 observations of shape"):
            module(wrong)
    with pytest.raises(torch.jit.Error, match="width 0"):
        module(torch.tensor(1.0))


def test_empty_and_strided_batches(tmp_path):
    module = exported(make_run(), tmp_path).module
    assert module(torch.zeros(0, 5)).shape == (0, 4)
    batch = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(batch[:, ::2]), module(batch[:, ::2].contiguous()))
    torch.testing.assert_close(module(batch[0, ::2]), module(batch[0, ::2].contiguous()))


def test_the_observation_is_not_written_to(tmp_path):
    module = exported(make_run(), tmp_path).module
    batch = any_float32(50, 5)
    before = batch.numpy().tobytes()
    module.act(batch)
    assert batch.numpy().tobytes() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_weights_that_could_overflow_are_refused(value):
    policy = make_policy()
    policy.actor.head.weight[0, 0] = value
    with pytest.raises(InputError, match="training has diverged"):
        ExportedPolicy(policy, make_run(policy).spec)


def test_raw_observations_cannot_overflow_a_layer_norm():
    policy = make_policy(normalize_observations=False)
    policy.actor.trunk[0].weight.mul_(1e12)
    with pytest.raises(InputError, match="training has diverged"):
        ExportedPolicy(policy, make_run(policy).spec)


def test_file_carries_its_metadata_and_weights_hash(tmp_path):
    run = make_run(c=float("inf"))
    loaded = exported(run, tmp_path)
    assert json.loads(loaded.module.metadata()) == loaded.metadata
    assert loaded.spec == run.spec
    assert loaded.metadata["learner"]["c"] == "inf"  # JSON has no infinity
    assert loaded.metadata["weights_sha256"] == weights_sha256(loaded.module)
    assert loaded.module.reset() is None


def test_exporting_warns_of_nothing_and_silences_nothing_else(tmp_path):
    run = make_run()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        exported(run, tmp_path)
        warnings.warn("still heard", DeprecationWarning, stacklevel=1)
    assert [str(warning.message) for warning in seen] == ["still heard"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_files_that_are_not_exported_policies_are_refused(tmp_path):
    path = tmp_path / "policy.pt"
    with pytest.raises(InputError, match="does not exist"):
        load_exported(path)
    path.write_bytes(b"not a zip archive")
    with pytest.raises(InputError, match="cannot be read as a TorchScript file"):
        load_exported(path)
    torch.save({"a": 1}, path)
    with pytest.raises(InputError, match="cannot be read as a TorchScript file"):
        load_exported(path)
    scripted = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(scripted, path)
    with pytest.raises(InputError, match=r"holds no policy\.json"):
        load_exported(path)
    torch.jit.save(scripted, path, _extra_files={"policy.json": '{"schema_version": 99}'})
    with pytest.raises(InputError, match="schema 99"):
        load_exported(path)


def test_a_truncated_file_is_refused(tmp_path):
    exported(make_run(), tmp_path)
    path = tmp_path / "policy.pt"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="cannot be read"):
        load_exported(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_hashes_are_compared_before_and_after_loading(tmp_path, monkeypatch):
    module = exported(make_run(), tmp_path).module
    path = tmp_path / "policy.pt"
    module.low.sub_(1.0)
    torch.jit.save(module, path, _extra_files={"policy.json": module.metadata()})
    with pytest.raises(InputError, match="other weights"):
        load_exported(path)
    path.with_suffix(".json").write_text(json.dumps({"file_sha256": "0" * 64}))
    monkeypatch.setattr(
        torch.jit, "load", lambda *_, **__: pytest.fail("loaded before its hash was compared")
    )
    with pytest.raises(InputError, match="sha256"):
        load_exported(path)
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(InputError, match="not the metadata"):
        load_exported(path)
