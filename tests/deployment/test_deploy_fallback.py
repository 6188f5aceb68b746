"""The command for unusable observations, where the user asks for one."""

import json
import sys

import numpy as np
import pytest
import torch
from exported import make_bounds, make_policy, make_run, quick_export

from acer_robot.commands.compose import compose
from acer_robot.commands.export import ExportConfig
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported
from acer_robot.spec import fallback_command


@pytest.mark.usefixtures("checks_in_this_process")
def test_the_file_gives_the_fallback_that_was_asked_for(tmp_path):
    run = make_run(make_policy())
    file = load_exported(quick_export(run, tmp_path, fallback={"joint0": 0.3, "joint3": -3}))
    expected = np.array([0.3, 0.0, 0.0, -3.0], np.float32)  # the others: zero, within their bounds
    for bad in (torch.nan, torch.inf):
        command, usable = file.module.act(torch.full((5,), bad))
        assert not usable
        np.testing.assert_array_equal(command.numpy(), expected)
    assert json.loads((tmp_path / "policy.json").read_text())["fallback"] == expected.tolist()
    assert "| joint3 | -3 | -1 | -3 | any |" in (tmp_path / "POLICY_CARD.md").read_text()
    finite = torch.zeros(5)
    usual = load_exported(quick_export(run, tmp_path / "usual"))
    torch.testing.assert_close(file.module(finite), usual.module(finite))


@pytest.mark.usefixtures("checks_in_this_process")
def test_filtered_file_approaches_its_fallback_from_rest(tmp_path):
    run = make_run(make_policy(), slew_rate=(5.0, None, 10.0, 2.0))
    file = load_exported(quick_export(run, tmp_path, fallback={"joint0": 0.25}))
    nowhere = torch.full((5,), torch.nan)
    commands = [float(file.module(nowhere)[0]) for _ in range(4)]
    np.testing.assert_allclose(commands, [0.1, 0.2, 0.25, 0.25], rtol=1e-6)
    file.reset()
    np.testing.assert_allclose(float(file.module(nowhere)[0]), 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ({"knee": 0.0}, "names joint 'knee'; this policy has joint0, joint1"),
        ({"joint0": 1.01}, r"'joint0' is 1.01, outside its bounds \[-1, 1\]"),
        ({"joint3": 0.0}, "outside its bounds"),
        ({"joint0": float("nan")}, "outside its bounds"),
    ],
)
def test_unusable_fallback_is_refused(fallback, message, tmp_path):
    with pytest.raises(InputError, match=message):
        quick_export(make_run(make_policy()), tmp_path / "export", fallback=fallback)
    assert not (tmp_path / "export").exists()


def test_a_fallback_is_exact_in_float32_and_within_the_bounds():
    bounds = make_bounds([-0.1], [0.7])
    for value in (-0.1, 0.7, 0.3):
        (command,) = fallback_command(bounds, {"joint0": value})
        assert command == np.float32(command)
        assert -0.1 <= command <= 0.7
        assert command == pytest.approx(value)


def test_the_command_line_takes_fallbacks_by_joint_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["acer-export", "run=x", "fallback={bthigh: 0.1}"])
    (config,) = compose("export", ExportConfig, body=lambda _: None)
    assert dict(config.fallback) == {"bthigh": 0.1}
