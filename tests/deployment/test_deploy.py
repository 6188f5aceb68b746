"""`acer-export`: a file appears only if every check passed in a process without acer_robot."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import make_bounds, make_policy, make_run, quick_export

from acer_robot.deployment import export as deploy
from acer_robot.deployment import verify_policy
from acer_robot.deployment.export import export_policy
from acer_robot.deployment.policy_card import confidence_interval
from acer_robot.deployment.vectors import extreme_observations
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported
from acer_robot.policies.exported.module import ExportedPolicy

COMPANIONS = ["POLICY_CARD.md", "policy.json", "policy.pt", "test_vectors.npz"]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """One export that the reading tests share, with the checks of a user's export in full."""
    out = tmp_path_factory.mktemp("run") / "export"
    export_policy(make_run(make_policy()), out)
    return out


def test_all_files_appear_and_nothing_else(export):
    assert sorted(path.name for path in export.iterdir()) == COMPANIONS
    loaded = load_exported(export / "policy.pt")
    beside = json.loads((export / "policy.json").read_text())
    assert {key: beside[key] for key in loaded.metadata} == loaded.metadata
    assert beside["verification"]["latency_us"]["p50"] > 0
    batches = (1, 2, 7, 8, 64, 1000, 100_000)  # of any bits, and of any magnitude
    assert beside["verification"]["bounds"] == f"{2 * sum(batches)} random observations"


def test_test_vectors_are_the_training_side_commands(export):
    run = make_run(make_policy())
    with np.load(export / "test_vectors.npz") as arrays:
        canonical = run.policy.act(torch.from_numpy(arrays["observations"]))
        expected = run.spec.bounds.to_command(canonical.double().numpy())
        np.testing.assert_allclose(arrays["commands"], expected, atol=1e-6)
        assert not np.isfinite(arrays["extreme_observations"]).all()
        assert np.isfinite(arrays["extreme_commands"]).all()


def test_the_card_names_what_a_controller_needs(export):
    card = (export / "POLICY_CARD.md").read_text()
    beside = json.loads((export / "policy.json").read_text())
    rows = ("| joint3 | -3 | -1 | -2 |", "| angle | 0 | rad |", "| rest | 1 to 4 |  |")
    facts = ("`[5]`", "0.02 s", "5,000 environment", "torch::jit::load", "not limited", beside["file_sha256"])
    for text in rows + facts:
        assert text in card
    assert "{" + "task" not in card


def test_the_cards_python_example_runs_without_acer_robot(export):
    card = (export / "POLICY_CARD.md").read_text()
    example = card.partition("```python\n")[2].partition("```")[0]
    script = f"import sys; sys.modules['acer_robot'] = None\n{example}\nprint(command.shape, bool(usable))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=export, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "torch.Size([4]) True"


class NotClipped(ExportedPolicy):
    def _command(self, offset):
        return offset.nan_to_num_(0.0) * 1.5 + self.fallback


class NotSafe(ExportedPolicy):
    def _command(self, offset):
        return (offset + self.fallback).clamp_(self.low, self.high)


class Forgetful(ExportedPolicy):
    """Acts as if the normaliser had been left out."""

    def _offset(self, observation):
        if observation.size(-1) != self.observation_size:
            raise ValueError(f"width {observation.size(-1)}, not {self.observation_size}")
        action = self.network(observation.clamp(-10.0, 10.0)).mul_(self.mean_bound).tanh_()
        return torch.addcmul(self.poison(observation), action, self.half_range)


class Drifting(ExportedPolicy):
    """Changes by about a rounding with each call, which no other check can see."""

    def _command(self, offset):
        self.half_range.mul_(1.0 - 1e-7)
        return offset.nan_to_num_(0.0).add_(self.fallback).clamp_(self.low, self.high)


class Optimistic(ExportedPolicy):
    @torch.jit.export
    def act(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        offset = self._offset(observation)
        return self._command(offset), torch.ones_like(offset.sum(-1)) > 0


class Sluggish(ExportedPolicy):
    """Its commands change half as fast as they may."""

    def _next_move(self, offset, last):
        step = 0.5 * self.steps
        return (offset + self.fallback_move).clamp(last - step, last + step)


class Restless(ExportedPolicy):
    """Forgets its last command, and so may go from one end to the other."""

    def _next_move(self, offset, last):
        return (offset + self.fallback_move).clamp(-self.steps, self.steps)


class Unclear(ExportedPolicy):
    def _offset(self, observation):
        if observation.size(-1) != self.observation_size:
            raise ValueError("wrong width")
        return torch.addcmul(self.poison(observation), self.network(observation).tanh_(), self.half_range)


@pytest.mark.usefixtures("checks_in_this_process")
@pytest.mark.parametrize(
    ("sabotage", "check"),
    [
        (NotClipped, "parity"),
        (NotSafe, "fallback"),
        (Forgetful, "parity"),
        (Drifting, "determinism"),
        (Optimistic, "archive"),
        (Unclear, "archive"),
    ],
)
def test_a_file_that_fails_is_refused_by_name_and_leaves_nothing(sabotage, check, tmp_path, monkeypatch):
    monkeypatch.setattr(deploy, "ExportedPolicy", sabotage)
    with pytest.raises(InputError, match=f"check '{check}' failed"):
        quick_export(make_run(make_policy()), tmp_path / "export")
    assert list((tmp_path / "export").iterdir()) == []


@pytest.mark.parametrize("key", ["task", "weights_sha256"])
def test_file_beside_another_policy_json_is_refused(export, tmp_path, key):
    for name in COMPANIONS:
        shutil.copy(export / name, tmp_path)
    beside = json.loads((tmp_path / "policy.json").read_text())
    other = {"task": beside["task"] | {"suite": "another"}, "weights_sha256": "0" * 64}
    (tmp_path / "policy.json").write_text(json.dumps(beside | {key: other[key]}))
    report = verify_policy.verify_torchscript(tmp_path / "policy.pt", 10)
    assert report["failed"] == "archive"
    assert "the metadata inside the file" in report["detail"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_changed_weights_are_refused_by_load_and_check(export, tmp_path):
    alone, policy = tmp_path / "alone.pt", load_exported(export / "policy.pt")
    policy.module.state_dict()["network.0.weight"].add_(1e-3)
    torch.jit.save(policy.module, str(alone), _extra_files={"policy.json": json.dumps(policy.metadata)})
    with pytest.raises(InputError, match="other weights than those that its metadata records"):
        load_exported(alone)
    for name in ("policy.json", "test_vectors.npz"):
        shutil.copy(export / name, tmp_path)
    report = verify_policy.verify_torchscript(alone.rename(tmp_path / "policy.pt"), 10)
    assert (report["failed"], report["detail"]) == (
        "archive",
        "the sha256 of the weights is not the one in the metadata",
    )


@pytest.mark.usefixtures("checks_in_this_process")
@pytest.mark.parametrize(("sabotage", "check"), [(Sluggish, "parity"), (Restless, "sequence")])
def test_file_with_another_slew_rate_is_refused(sabotage, check, tmp_path, monkeypatch):
    monkeypatch.setattr(deploy, "ExportedPolicy", sabotage)
    with pytest.raises(InputError, match=f"check '{check}' failed"):
        quick_export(make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0)), tmp_path)


def test_slew_rates_are_exported_checked_and_on_the_card(tmp_path):
    run = make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0), low_pass_hz=3.0)
    quick_export(run, tmp_path)
    loaded = load_exported(tmp_path / "policy.pt")
    assert loaded.spec == run.spec
    beside = json.loads((tmp_path / "policy.json").read_text())
    assert "bounds and slew rates for 2000" in beside["verification"]["sequence"]
    card = (tmp_path / "POLICY_CARD.md").read_text()
    assert "| joint0 | -1 | 1 | 0 | 5 | 0 |" in card
    assert "| joint1 | -0.25 | 2 | 0 | any |" in card
    assert "low-pass of 3 Hz" in card
    assert "the commands approach the fallback command" in card
    assert "gets the fallback command" not in card


class Climbing:
    """Its command grows by the same change at each step."""

    def __init__(self, change):
        self.change = change

    def reset(self):
        self.command = np.zeros(1, np.float32)

    def step(self, row):
        command = self.command
        self.command = (command + np.float32(self.change)).clip(-1, 1)
        return command


@pytest.mark.parametrize(("change", "allowed"), [(0.25, True), (0.251, False)])
def test_the_sequence_check_sees_a_command_that_changes_too_fast(change, allowed):
    promise = dataclasses.replace(contract([-1.0], [1.0], None), steps=np.array([0.25]))
    promise.vectors["sequence_observations"] = np.zeros((1, 3), np.float32)
    promise.vectors["sequence_commands"] = np.zeros((1, 1), np.float32)
    policy = Climbing(change)
    checked = verify_policy.Runner(policy.step, policy.reset)
    if allowed:
        assert "slew rates" in verify_policy.check_sequence(checked, promise)
    else:
        with pytest.raises(verify_policy.CheckError, match="faster than its slew rate"):
            verify_policy.check_sequence(checked, promise)


class Overshooting(Climbing):
    """A low-pass that goes beyond the bound while it holds."""

    def step(self, row):
        large = np.float32(1.5 if np.nan_to_num(row).max() > 0 else -1.5)
        self.command = self.command + np.float32(self.change) * (large - self.command)
        return self.command


def test_the_sequence_check_sees_a_held_command_overshoot():
    promise = contract([-1.0], [1.0], None)
    promise.vectors["sequence_observations"] = np.ones((1, 3), np.float32)
    promise.vectors["sequence_commands"] = np.full((1, 1), 0.015, np.float32)
    policy = Overshooting(0.01)
    with pytest.raises(verify_policy.CheckError, match="leaves its bounds in a random sequence"):
        verify_policy.check_sequence(verify_policy.Runner(policy.step, policy.reset), promise)


def test_an_earlier_export_survives_a_refused_one(export, monkeypatch):
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    monkeypatch.setattr(deploy, "ExportedPolicy", NotSafe)
    with pytest.raises(InputError, match="refused"):
        quick_export(make_run(make_policy(seed=5)), export)
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before


def test_the_checking_process_cannot_import_acer_robot(export, tmp_path):
    script = tmp_path / "snoop.py"
    source = Path(verify_policy.__file__).read_text()
    script.write_text(
        source.replace(
            "report = verify_torchscript(arguments.policy, arguments.fuzzed_rows)", "import acer_robot"
        )
    )
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(export / "policy.pt")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "import of acer_robot halted" in done.stderr


def contract(low, high, commands):
    rows = np.zeros((8, 3), dtype=np.float32)
    vectors = {"observations": rows, "commands": commands, "extreme_observations": extreme_observations(3)}
    unlimited = np.full(len(low), np.inf)
    return verify_policy.Contract(
        np.array(low), np.array(high), *np.zeros((2, len(low))), unlimited, 0.01, vectors
    )


def runner(act):
    return verify_policy.Runner(act, lambda: None)


def test_the_bounds_check_sees_one_step_of_float32_too_far():
    promise = contract([-0.1], [0.7], None)
    for value, inside in ((-0.1, False), (0.7, True), (np.nextafter(np.float32(0.7), np.float32(1)), False)):
        with np.errstate(invalid="ignore"):
            assert promise.outside(np.array([[value]], dtype=np.float32))[0, 0] != inside
    assert promise.outside(np.array([[np.nan]], dtype=np.float32)).all()
    with pytest.raises(verify_policy.CheckError, match="leaves its bounds"):
        verify_policy.check_bounds(runner(lambda rows: np.full((len(rows), 1), 0.8, np.float32)), promise)


def test_bounds_check_rounds_an_unrepresentable_constant():
    promise = contract([0.1], [0.1], None)
    assert not promise.outside(np.array([[0.1]], dtype=np.float32)).any()
    assert promise.outside(np.array([[0.1000001]], dtype=np.float32)).all()


def test_the_batch_check_sees_rows_that_depend_on_each_other():
    promise = contract([-1.0], [1.0], None)

    def leaky(rows):
        return np.full((*rows.shape[:-1], 1), 0.1 * (rows.ndim == 2 and len(rows) > 1), np.float32)

    with pytest.raises(verify_policy.CheckError, match="batch of 8"):
        verify_policy.check_batches(runner(leaky), promise)


def test_a_policy_slower_than_its_robot_is_refused():
    promise = dataclasses.replace(contract([0.0], [0.0], None), control_dt=1e-9)
    with pytest.raises(verify_policy.CheckError, match="longer than the control period"):
        verify_policy.check_latency(runner(lambda row: row), promise)


def test_confidence_interval():
    low, high = confidence_interval([10.0, 12.0, 14.0, 16.0])
    assert 10.5 < low < 12 < 14 < high < 15.5
    assert confidence_interval([3.0, 3.0]) == (3.0, 3.0)


def test_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "export").write_text("")
    with pytest.raises(InputError, match="give a folder"):
        export_policy(make_run(make_policy(), make_bounds()), tmp_path / "export")
