"""Workers that are processes of Ray. One short test runs wherever Ray is installed; the others with `-m extras`."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from composed import composed_train

from acer_robot.distributed.cluster import ray_module
from acer_robot.errors import InputError
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.tables import read_table
from acer_robot.training.run import train

TINY = [
    "task=gym", "task.id=Pendulum-v1", "+task.kwargs.max_episode_steps=70", "num_envs=2", "eval_every=400",
    "eval_episodes=2", "log_every=100", "video=false", "hand_over=false", "wandb.mode=disabled", "learner.hidden=[8,8]",
    "learner.advantage_hidden=8", "learner.learning_starts=40", "learner.segments=4", "learner.replay_ratio=4",
    "learner.compile=false", "seed=3",
]  # fmt: skip


def ray():
    """Skip without Ray. It is not imported here: `connect` must set its variables before."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'acer-robot[ray]'")


@pytest.fixture
def no_ray_is_left():
    yield
    with contextlib.suppress(ImportError):
        import ray

        left = ray.is_initialized()
        ray.shutdown()
        assert not left


def run(folder, *overrides):
    return train(composed_train(f"run_dir='{folder}'", *TINY, *overrides))


def test_missing_ray_is_named(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *arguments, **options):
        if name == "ray":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(InputError, match=r"pip install 'acer-robot\[ray\]'"):
        ray_module()


def test_synchronous_ray_worker_equals_the_local_collector(tmp_path, no_ray_is_left):
    ray()
    local = run(tmp_path / "local", "steps=120", "eval_every=120")
    options = [
        "steps=120",
        "eval_every=120",
        "collector=ray",
        "collector.workers=1",
        "collector.synchronous=true",
    ]
    remote = run(tmp_path / "remote", *options)
    one, other = (read_checkpoint(folder)["learner"]["modules"] for folder in (local, remote))
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("eval/return_mean", "eval/return_online"):
        assert read_table(local / "eval.csv")[name] == read_table(remote / "eval.csv")[name]


def listening():
    """Return the addresses, as the system writes them, at which processes of Ray listen."""
    inodes = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if b"ray" in words:
                for link in (entry / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        inodes[os.readlink(link).removeprefix("socket:[").removesuffix("]")] = words
    rows = []
    for table in ("tcp", "tcp6"):
        rows += [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]


@pytest.mark.extras
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_workers_are_replaced_and_nothing_listens_beyond_loopback(tmp_path, capsys, no_ray_is_left):
    ray()
    killed, addresses = [], []

    def kill():
        while len(killed) < 2:
            time.sleep(1.0)
            found = subprocess.run(
                ["pgrep", "-f", "^ray::Worker"], capture_output=True, text=True, check=False
            )
            if found.stdout.split() and (tmp_path / "run/metrics.csv").exists():
                addresses.extend(listening())
                number = int(found.stdout.split()[0])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
                    killed.append(number)
                    time.sleep(4.0)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    folder = run(
        tmp_path / "run",
        "steps=6_000",
        "learner.replay_ratio=0.5",
        "collector=ray",
        "collector.workers=2",
        "collector.segment_length=8",
    )
    killer.join(1.0)
    out = capsys.readouterr().out
    assert out.count("is lost: ") == len(killed) == 2
    content = read_checkpoint(folder)
    collector = content["resume"]["collector"]
    assert collector["transitions"] == content["resume"]["replay"]["added"] >= 6_000
    assert content["learner"]["modules"]["normalizer.count"] == collector["transitions"]
    assert read_table(folder / "metrics.csv")["collect/lost"][-1] == 2
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert addresses
    assert set(addresses) <= loopback


@pytest.mark.extras
def test_lost_node_is_survived(tmp_path, capsys, monkeypatch):
    ray()
    import ray as module
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        lost = []

        def remove():
            while not (tmp_path / "run/metrics.csv").exists():
                time.sleep(0.5)
            time.sleep(2.0)
            cluster.remove_node(node, allow_graceful=False)
            lost.append(node)
            cluster.add_node(num_cpus=1)

        threading.Thread(target=remove, daemon=True).start()
        options = ["collector=ray", f"collector.address={cluster.address}", "collector.segment_length=8"]
        folder = run(tmp_path / "run", "steps=20_000", *options)
        assert lost
        assert "is lost: " in capsys.readouterr().out
        content = read_checkpoint(folder)
        assert (
            content["learner"]["modules"]["normalizer.count"] == content["resume"]["collector"]["transitions"]
        )
    finally:
        module.shutdown()
        cluster.shutdown()


@pytest.mark.extras
def test_address_without_a_cluster_is_refused(tmp_path):
    ray()
    with pytest.raises(InputError, match=r"collector.address=127.0.0.1:1 cannot be reached"):
        run(tmp_path / "run", "steps=120", "collector=ray", "collector.address=127.0.0.1:1")
    assert not (tmp_path / "run").exists()
