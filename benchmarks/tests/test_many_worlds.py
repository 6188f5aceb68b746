"""The benchmark of many worlds: its contenders step, and its table has their rates."""

import many_worlds
import pytest
import torch
from many_worlds import bare, contenders, rate, simulated, table


@pytest.mark.parametrize("backend", ["cpu", "batch"])
def test_contender_counts_its_steps(backend):
    step = simulated("HalfCheetah-v5", backend, 3, torch.device("cpu"))
    assert step() == 3
    assert rate(step, 0.01) > 10.0


def test_bare_physics_counts_its_steps():
    assert bare("HalfCheetah-v5", 1)() == 50


def test_table_has_median_and_range():
    assert table({"batch": [1000.0, 3000.0, 2000.0]}).splitlines()[-1] == "| batch | 2,000 | 1,000 to 3,000 |"


def test_contender_that_does_not_load_is_left_out(monkeypatch, capsys):
    def broken(*_):
        raise FileNotFoundError("no roms")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "envpool")
    for name in ("pooled", "trained", "simulated"):
        monkeypatch.setattr(many_worlds, name, broken if name == "pooled" else lambda *_: lambda: 1)
    assert "EnvPool" not in contenders("HalfCheetah-v5", 2, 1)
    assert "EnvPool: left out, as it does not load: no roms" in capsys.readouterr().out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    contenders("HalfCheetah-v5", 2, 1)
    assert "the package envpool is not installed" in capsys.readouterr().out
