"""Workers that are processes of Ray. One short test runs wherever Ray is installed; the others with `-m extras`."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import itertools
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from composed import composed_train
from worker_kills import Nodes, problems

from acer_robot.distributed import cluster
from acer_robot.distributed.cluster import connect, ray_module
from acer_robot.distributed.remote_collector import RemoteCollector
from acer_robot.errors import InputError
from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.run_folder.tables import read_table
from acer_robot.schema import CollectorConfig
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


def run_with_own_ray(folder, *overrides):
    """Like `run`; a Ray that a busy machine keeps from starting is started again."""
    for _ in range(4):
        try:
            return run(folder, *overrides)
        except InputError as error:
            if not str(error).startswith("Ray does not start"):
                raise
    return run(folder, *overrides)


def test_missing_ray_is_named(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *arguments, **options):
        if name == "ray":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(InputError, match=r"pip install 'acer-robot\[ray\]'"):
        ray_module()


def test_ray_that_does_not_start_is_one_line(monkeypatch):
    def too_slow(**_):
        raise Exception("The current node timed out during startup.\nmore")

    slow = SimpleNamespace(is_initialized=lambda: False, init=too_slow)
    monkeypatch.setattr(cluster, "ray_module", lambda: slow)
    with pytest.raises(
        InputError, match=r"does not start .*: The current node timed out during startup\. Where"
    ):
        connect(CollectorConfig(kind="ray"))


def test_synchronous_ray_worker_equals_the_local_collector(tmp_path, no_ray_is_left):
    ray()
    local = run(tmp_path / "local", "steps=120", "eval_every=120")
    options = [
        "steps=120",
        "eval_every=120",
        "collector.timeout=900",
        "collector=ray",
        "collector.workers=1",
        "collector.synchronous=true",
    ]
    remote = run_with_own_ray(tmp_path / "remote", *options)
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


class Struck:
    """Does something to a run once its learner has some segments, and then waits until all workers deliver again.

    `losses` workers must have been missed by then.

    It goes by segments, and not by the clock, so that it asks the same of a slow machine and of a fast one.
    """

    def __init__(self, monkeypatch, strike, losses=1, after=10, seconds=600.0):
        self.incarnations = []
        """How often each worker had been replaced in the end."""
        self.numbers = []
        """Process of each worker that said hello, in this order."""
        step, welcome, calls = RemoteCollector.step, RemoteCollector._welcome, itertools.count()

        def struck_step(collector):
            finished = step(collector)
            if next(calls) != after:
                return finished
            strike(self.numbers)
            deadline = time.monotonic() + seconds
            while collector.lost < losses or not all(slot.expected for slot in collector._slots):
                assert time.monotonic() < deadline, "a lost worker was not replaced"
                finished += step(collector)
            self.incarnations = [slot.incarnation for slot in collector._slots]
            return finished

        def noted_welcome(collector, slot, hello):
            self.numbers.append(int(re.search(r"process (\d+) on", hello["where"])[1]))
            welcome(collector, slot, hello)

        monkeypatch.setattr(RemoteCollector, "step", struck_step)
        monkeypatch.setattr(RemoteCollector, "_welcome", noted_welcome)


SHORT = [
    "steps=600",
    "eval_every=600",
    "learner.replay_ratio=0.5",
    "collector=ray",
    "collector.segment_length=8",
]


@pytest.mark.extras
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_workers_are_replaced_on_the_loopback_alone(tmp_path, capsys, monkeypatch, no_ray_is_left):
    ray()
    addresses = []

    def kill(workers):
        addresses.extend(listening())
        for number in workers:
            os.kill(number, signal.SIGKILL)

    struck = Struck(monkeypatch, kill, losses=2)
    folder = run_with_own_ray(tmp_path / "run", *SHORT)
    assert struck.incarnations == [1, 1]
    assert len(set(struck.numbers)) == 4
    assert capsys.readouterr().out.count("is lost: ") == 2
    assert problems(folder, 2) == []
    assert read_checkpoint(folder)["resume"]["collector"]["lost"] == 2
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert addresses
    assert set(addresses) <= loopback


@pytest.mark.extras
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_lost_node_is_survived(tmp_path, capsys, monkeypatch):
    ray()
    nodes = Nodes(count=2, cpus=1)  # one worker each
    try:
        struck = Struck(monkeypatch, lambda _: nodes.strike(0))
        folder = run(tmp_path / "run", *SHORT, f"collector.address={nodes.address}")
        assert sorted(struck.incarnations) == [0, 1]
        assert capsys.readouterr().out.count("is lost: ") == 1
        assert problems(folder, 2) == []
    finally:
        nodes.close()


@pytest.mark.extras
def test_address_without_a_cluster_is_refused(tmp_path):
    ray()
    with pytest.raises(InputError, match=r"collector.address=127.0.0.1:1 cannot be reached"):
        run(tmp_path / "run", "steps=120", "collector=ray", "collector.address=127.0.0.1:1")
    assert not (tmp_path / "run").exists()
