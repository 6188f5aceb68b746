"""The sweep file for Weights & Biases: an agent runs its command, against a stand-in for the server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from composed import composed_train
from wandb_server import Server

SWEEP = Path(__file__).parents[2] / "examples/wandb_sweep.yaml"
CONFIG = yaml.safe_load(SWEEP.read_text())
OPTIONS = {
    name: spec["value"] if "value" in spec else spec.get("values", [spec.get("min")])[0]
    for name, spec in CONFIG["parameters"].items()
}
FAKE = """#!{python}
import json, os, sys
with open("received.json", "w") as file:
    json.dump([sys.argv[1:], os.environ["WANDB_RUN_ID"], os.environ["WANDB_SWEEP_ID"]], file)
"""


@pytest.fixture(scope="module")
def received(tmp_path_factory):
    """What an agent of wandb gives acer-train: arguments, id of the run and of the sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    command = folder / "acer-train"
    command.write_text(FAKE.format(python=sys.executable))
    command.chmod(0o755)
    server = Server()
    server.sweep.config, server.sweep.options = SWEEP.read_text(), OPTIONS
    kept = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    kept |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40, "HOME": str(folder)}
    kept["PATH"] = f"{folder}:{kept['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "agent", "me/x/s"],
        env=kept, cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    server.stop()
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "received.json").read_text())


def test_agent_gives_each_option_as_name_and_value(received):
    arguments, run, sweep = received
    assert {f"{name}={value}" for name, value in OPTIONS.items()} < set(arguments)
    assert not any(argument.startswith("-") for argument in arguments)
    assert (run, sweep) == ("run1", "s")


def test_options_of_the_sweep_are_options_of_a_run(received, monkeypatch):
    arguments, run, _ = received
    monkeypatch.setenv("WANDB_RUN_ID", run)
    config = composed_train(*arguments)
    assert (config.task.id, config.steps, config.wandb.mode) == ("HalfCheetah-v5", 60_000, "online")
    assert config.run_dir == "runs/sweep_run1"
    assert config.learner.lr == CONFIG["parameters"]["learner.lr"]["min"]


def test_what_is_optimised_is_in_the_summary():
    assert CONFIG["metric"]["name"] == "best/return_mean"
