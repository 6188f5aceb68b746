"""What collecting with Ray costs: `python benchmarks/distributed.py [--task halfcheetah] [--steps 20000]`.

It prints environment steps per second without updates, with the local collector and with Ray workers in turn; segments
per second; bytes of a transition and of its segment on the wire; bytes of the weights; and the learner's updates per
second. docs/scale.md computes its table from these numbers. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import statistics
import time

import torch
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from acer_robot.distributed.ray_workers import RayWorkers
from acer_robot.distributed.remote_collector import RemoteCollector
from acer_robot.distributed.segment import weights_of
from acer_robot.distributed.worker import Worker
from acer_robot.experience.collector import Collector
from acer_robot.experience.seeds import independent_seeds
from acer_robot.learner.learner import Learner
from acer_robot.schema import TrainConfig
from acer_robot.tasks import make_task
from acer_robot.training.collecting import make_replay

CPU = torch.device("cpu")


def composed_train(*overrides: str) -> TrainConfig:
    """Return the options that `acer-train` gets."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    with initialize_config_module("acer_robot.configs", version_base="1.3"):
        return OmegaConf.to_object(compose("train", overrides=list(overrides)))


def parts(config: TrainConfig):
    """Return task, learner and replay of a run with these options."""
    here = config.num_envs if config.collector.kind == "local" else 1
    task = make_task(config.task, here, independent_seeds(config.seed).environments)
    sizes = (task.spec.input_size, task.spec.action_size)
    learner = Learner(config.learner, *sizes, CPU, 0)
    return task, learner, make_replay(config, sizes, CPU, 0)


def steps_per_second(collector: Collector | RemoteCollector, steps: int) -> float:
    """Return environment steps per second of `steps` steps, after a tenth of them as a start."""
    while collector.env_steps < steps // 10:
        collector.step()
    first, start = collector.env_steps, time.perf_counter()
    while collector.env_steps < first + steps:
        collector.step()
    return (collector.env_steps - first) / (time.perf_counter() - start)


def local_speed(config: TrainConfig, steps: int) -> float:
    """Return environment steps per second of the local collector, without updates."""
    task, learner, replay = parts(config)
    try:
        return steps_per_second(Collector(task, learner.policy, replay, CPU, 0), steps)
    finally:
        task.close()


def remote_speed(config: TrainConfig, steps: int) -> float:
    """Return environment steps per second of Ray workers, without updates."""
    task, learner, replay = parts(config)
    collector = RemoteCollector(config, task.spec, learner, replay, RayWorkers(config))
    try:
        collector.start()
        return steps_per_second(collector, steps)
    finally:
        collector.close()
        task.close()


def wire_sizes(config: TrainConfig) -> dict[str, float]:
    """Return the sizes of a segment and of the weights, as arrays and as they are pickled for the object store."""
    worker = Worker(dataclasses.asdict(config), 0, 0)
    segment = worker.collect(0, 0, None)
    _, learner, _ = parts(config)
    weights = weights_of(learner.policy)
    arrays = sum(value.nbytes for value in segment.values() if hasattr(value, "nbytes"))
    return {
        "transitions of a segment": segment["rows"].shape[0] * segment["rows"].shape[1],
        "bytes of a segment's arrays": arrays,
        "bytes of a segment, pickled": pickled_bytes(segment),
        "bytes of the weights' arrays": sum(value.nbytes for value in weights.values()),
        "bytes of the weights, pickled": pickled_bytes(weights),
    }


def pickled_bytes(value: object) -> int:
    """Return the size of a value pickled with arrays beside the stream, as Ray does it."""
    beside: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, protocol=5, buffer_callback=beside.append)
    return len(stream) + sum(buffer.raw().nbytes for buffer in beside)


def updates_per_second(config: TrainConfig, updates: int = 100) -> float:
    """Return updates per second of the learner, not compiled, on random segments."""
    task, learner, replay = parts(config)
    task.close()
    replay.extend(torch.randn(64, replay.num_envs, replay.row_width) * 0.1)
    for _ in range(10):
        learner.update(replay.sample(config.learner.segments))
    start = time.perf_counter()
    for _ in range(updates):
        learner.update(replay.sample(config.learner.segments))
    return updates / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="halfcheetah")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shared = [f"task={given.task}", f"steps={10 * given.steps}", "run_dir=unused", "learner.compile=false"]
    local = composed_train(*shared)
    remote = composed_train(*shared, "collector=ray", f"collector.workers={given.workers}")
    speeds: dict[str, list[float]] = {"local": [], "ray": []}
    for _ in range(given.rounds):  # in turn, since a machine changes its speed
        speeds["local"].append(local_speed(local, given.steps))
        speeds["ray"].append(remote_speed(remote, given.steps))
    for name, values in speeds.items():
        print(
            f"env steps/s, {name}: {statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"
        )
    sizes = wire_sizes(remote)
    for name, size in sizes.items():
        print(f"{name}: {size:,.0f}")
    rate = statistics.median(speeds["ray"]) / remote.task.action_repeat / sizes["transitions of a segment"]
    print(f"segments/s: {rate:,.1f}")
    print(
        f"learner updates/s, not compiled, {local.learner.segments} segments: {updates_per_second(local):,.1f}"
    )


if __name__ == "__main__":
    main()
