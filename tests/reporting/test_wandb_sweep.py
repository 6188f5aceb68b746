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


TINY = {
    "task": "invertedpendulum", "steps": 200, "num_envs": 2, "eval_every": 200, "eval_episodes": 1, "video": "false",
    "learner.learning_starts": 100, "learner.hidden": [8], "learner.advantage_hidden": 8, "learner.compile": "false",
}  # fmt: skip


def environment(server, folder, programs):
    """Return the environment of a shell that is logged in at the server and finds acer-train in `programs`."""
    kept = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    kept |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40, "HOME": str(folder)}
    kept["PATH"] = f"{programs}:{kept['PATH']}"
    return kept


def wandb(arguments, env, folder):
    """Run the shell command `wandb` and return what it printed."""
    command = [sys.executable, "-m", "wandb", *arguments]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def received(tmp_path_factory):
    """What an agent of wandb gives acer-train: arguments, id of the run and of the sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    command = folder / "acer-train"
    command.write_text(FAKE.format(python=sys.executable))
    command.chmod(0o755)
    server = Server()
    server.sweep.config, server.sweep.runs = SWEEP.read_text(), [OPTIONS]
    wandb(["agent", "me/x/s"], environment(server, folder, folder), folder)
    server.stop()
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


@pytest.mark.slow
def test_a_sweep_trains_a_run(tmp_path):
    server = Server()
    env = environment(server, tmp_path, Path(sys.executable).parent)
    said = wandb(["sweep", str(SWEEP)], env, tmp_path)
    assert "wandb agent me/acer_robot/s" in said
    assert yaml.safe_load(server.sweep.config)["command"] == CONFIG["command"]
    server.sweep.runs = [TINY]
    wandb(["agent", "me/acer_robot/s"], env, tmp_path)
    server.stop()
    assert (tmp_path / "runs/sweep_run1/export/policy.pt").is_file()
    sent = b"".join(body for path, body in server.bodies if "/run1/" in path)
    assert b"best/return_mean" in sent, "what the sweep optimises"
    created = [json.loads(body)["variables"] for _, body in server.bodies if b"mutation UpsertBucket" in body]
    assert {run["name"] for run in created if run["sweep"] == "s"} == {"run1"}
