"""ONNX and torch.export beside TorchScript: the same commands, the same checks."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from exported import make_policy, make_run, ordinary_observations, quick_export

from acer_robot.deployment import export as deploy
from acer_robot.deployment.verify_formats import verify
from acer_robot.errors import InputError
from acer_robot.policies.exported import formats as other_formats
from acer_robot.policies.exported.file import load_exported
from acer_robot.policies.exported.formats import check_format, save_format
from acer_robot.policies.exported.module import ExportedPolicy

ALL = ("torchscript", "onnx", "pt2")
STEP = ExportedPolicy.step
LIMITED = make_run(make_policy(9, 4), slew_rate=(5.0, None, 10.0, 2.0), low_pass_hz=4.0, observes=True)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    for package in other_formats.ONNX_PACKAGES:
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("formats") / "export"
    quick_export(make_run(make_policy()), out, formats=ALL)
    return out


def run_onnx(path, rows):
    session = sys.modules["onnxruntime"].InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["command"], {"observation": rows})[0], session


def test_all_formats_give_the_training_sides_commands(export):
    run = make_run(make_policy())
    program = torch.export.load(export / "policy.pt2").module()
    for size in (1, 8, 64):
        rows = ordinary_observations(run.policy, size)
        expected = run.spec.bounds.to_command(run.policy.act(torch.from_numpy(rows)).double().numpy())
        np.testing.assert_allclose(run_onnx(export / "policy.onnx", rows)[0], expected, atol=1e-5)
        np.testing.assert_allclose(program(torch.from_numpy(rows)).numpy(), expected, atol=1e-5)


def test_unusable_observations_and_any_bits_in_onnx(export):
    bits = np.random.default_rng(0).integers(0, 2**32, (5000, 5), dtype=np.uint32).view(np.float32)
    bits[0] = np.nan
    commands, _ = run_onnx(export / "policy.onnx", bits)
    np.testing.assert_array_equal(commands[0], [0.0, 0.0, 0.0, -2.0])
    low, high = np.array(make_run().spec.bounds.low), np.array(make_run().spec.bounds.high)
    assert ((commands >= low) & (commands <= high)).all()


def test_every_format_carries_the_metadata(export):
    beside = json.loads((export / "policy.json").read_text())
    _, session = run_onnx(export / "policy.onnx", np.zeros((1, 5), np.float32))
    extra = {"policy.json": ""}
    torch.export.load(export / "policy.pt2", extra_files=extra)
    for text in (session.get_modelmeta().custom_metadata_map["policy.json"], extra["policy.json"]):
        inside = json.loads(text)
        assert inside["task"] == beside["task"]
        assert inside["weights_sha256"] == beside["weights_sha256"]
    card = (export / "POLICY_CARD.md").read_text()
    for file in ("policy.onnx", "policy.pt2"):
        assert beside["other_formats"][file]["verification"]["latency_us"]["p50"] > 0
        assert f"- {file}, parity: largest difference" in card


@pytest.mark.parametrize("name", ["policy.onnx", "policy.pt2"])
def test_format_beside_another_policy_json_is_refused(export, tmp_path, name):
    for file in (name, "policy.json", "test_vectors.npz"):
        shutil.copy(export / file, tmp_path)
    beside = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(beside | {"weights_sha256": "0" * 64}))
    report = verify(tmp_path / name, 10)
    assert (report["failed"], report["detail"]) == (
        "archive",
        "the metadata inside the file and in policy.json differ",
    )


@pytest.mark.usefixtures("checks_in_this_process")
def test_a_later_export_without_them_leaves_no_stale_formats(export, tmp_path):
    for name in ("policy.onnx", "policy.pt2"):
        (tmp_path / name).write_bytes((export / name).read_bytes())
    quick_export(make_run(make_policy(seed=3)), tmp_path)
    assert not list(tmp_path.glob("policy.onnx")) + list(tmp_path.glob("policy.pt2"))


def test_a_format_that_acts_otherwise_is_refused_by_name(tmp_path, monkeypatch):
    def wrong(name, module, metadata, folder):
        other = ExportedPolicy(make_policy(seed=9), make_run().spec)
        return save_format(name, other, metadata, folder)

    monkeypatch.setattr(deploy, "save_format", wrong)
    with pytest.raises(InputError, match=r"check 'parity' of policy\.pt2 failed"):
        quick_export(make_run(make_policy()), tmp_path, formats=("torchscript", "pt2"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (("torchscript", "tflite"), "'tflite' is not known; choose one of torchscript, onnx, pt2"),
        (("pt2",), "lacks torchscript"),
        ((), "lacks torchscript"),
    ],
)
def test_formats_that_cannot_be_had(formats, message, tmp_path):
    with pytest.raises(InputError, match=message):
        quick_export(make_run(make_policy()), tmp_path / "export", formats=formats)
    assert not (tmp_path / "export").exists()


def test_an_absent_extra_is_named(monkeypatch):
    monkeypatch.setattr(other_formats, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "acer-robot\[formats\]"'):
        check_format("onnx")
    check_format("pt2")


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """The export of a policy with slew rates and a low-pass, whose network observes the last command."""
    for package in other_formats.ONNX_PACKAGES:
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("limited") / "export"
    quick_export(LIMITED, out, formats=ALL)
    return out


def steps_of(file):
    """Return the function from observations and state to commands and next state in a file."""
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()
        return lambda *arrays: [each.numpy() for each in program(*map(torch.from_numpy, arrays))]
    session = sys.modules["onnxruntime"].InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda rows, state: session.run(["command", "next_state"], {"observation": rows, "state": state})


@pytest.mark.parametrize("name", ["policy.onnx", "policy.pt2"])
def test_state_goes_in_and_comes_out(limited, name):
    step, torchscript = steps_of(limited / name), load_exported(limited / "policy.pt")
    rows = np.random.default_rng(0).standard_normal((20, 3, 5)).astype(np.float32)
    rows[7, 1] = np.nan
    torchscript.reset()
    state = np.zeros((3, 4), np.float32)
    for observations in rows:
        commands, state = step(observations, state)
        expected = torchscript.act(torch.from_numpy(observations)).numpy()
        np.testing.assert_allclose(commands, expected, atol=1e-5)
    assert np.abs(state).max() > 0.1
    beside = json.loads((limited / "policy.json").read_text())
    assert beside["other_formats"][name]["verification"]["state"] == "30000 random states"


@pytest.mark.parametrize("name", ["policy.onnx", "policy.pt2"])
def test_any_state_keeps_bounds_and_slew_rates(limited, name):
    step, bounds = steps_of(limited / name), make_run().spec.bounds
    states = np.float32([[np.nan, np.inf, -np.inf, 1e38], [0.0, 0.0, 0.0, 0.0], [1e-40, 0.1, 0.2, -0.5]])
    commands, following = step(np.full((3, 5), 3e38, np.float32), states)
    rest = np.float32([0.0, 0.0, 0.0, -2.0])
    last = np.clip(np.nan_to_num(states) + rest, bounds.low, bounds.high)
    moved = np.abs(commands - last)
    assert ((commands >= bounds.low) & (commands <= bounds.high)).all()
    assert (moved <= np.array([0.1, np.inf, 0.2, 0.04]) + 1e-6).all()
    assert moved.max() > 0.03
    np.testing.assert_allclose(following + rest, commands, atol=1e-6)


@pytest.mark.parametrize("fault", ["bounds", "slew", "memory"])
def test_a_state_that_is_used_otherwise_is_refused(limited, tmp_path, monkeypatch, fault):
    def wrong(policy, observation, state):
        command, following = STEP(
            policy, observation, torch.zeros_like(state) if fault == "memory" else state
        )
        off = {"bounds": 1.0 * (state.abs() > 1e6), "slew": 0.1 * torch.sign(state), "memory": 0.0 * state}
        return command + off[fault], following + off[fault]

    monkeypatch.setattr(ExportedPolicy, "step", wrong)
    for name in ("policy.json", "test_vectors.npz"):
        shutil.copy(limited / name, tmp_path)
    metadata = json.loads((tmp_path / "policy.json").read_text())
    save_format("pt2", ExportedPolicy(LIMITED.policy, LIMITED.spec), metadata, tmp_path)
    threads = torch.get_num_threads()
    report = verify(tmp_path / "policy.pt2", 1000)  # it takes one thread
    torch.set_num_threads(threads)
    assert report["failed"] == "state"
