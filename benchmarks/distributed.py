"""What workers cost and bring: `python benchmarks/distributed.py [--part wire collect end_to_end] [--cores 2]`.

Run it on an otherwise idle machine; all parts take some five minutes. Whatever is compared runs in turn, round by
round, on the same cores, and a ratio is taken within a round; tables have the median and the range. Each part replaces
its section of benchmarks/results/distributed.md, to which docs/scale.md refers. Ray is the extra `ray`.

- wire: bytes of a transition, of its segment and of the weights, as arrays and as Ray writes them. It times nothing.
- collect: environment steps a second without updates: the local collector, alone and with as many processes for its
  environments as there are cores, beside as many workers.
- end_to_end: seconds of whole runs with their updates and evaluations, from the first step on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib import metadata
from pathlib import Path
from statistics import median
from unittest import mock

import torch
from rows.command_line import in_one_line, positive
from rows.runs import ROOT, revision, versions
from rows.train_options import composed_train
from speed import with_section

from acer_robot.distributed.cluster import connect, disconnect
from acer_robot.distributed.processes import ProcessWorkers
from acer_robot.distributed.ray_workers import RayWorkers
from acer_robot.distributed.remote_collector import RemoteCollector
from acer_robot.distributed.segment import weights_of
from acer_robot.distributed.worker import Worker
from acer_robot.experience.collector import Collector
from acer_robot.experience.seeds import independent_seeds
from acer_robot.learner.learner import Learner
from acer_robot.provenance import cpu_model
from acer_robot.schema import TrainConfig
from acer_robot.tasks import make_task
from acer_robot.training import run as training
from acer_robot.training.collecting import make_replay

PAGE = ROOT / "benchmarks" / "results" / "distributed.md"
CPU = torch.device("cpu")
BLOCK = 3.0
"""Seconds of a contender's block in a round of `collect`."""
SHORT = ["learner.replay_ratio=32", "eval_every=4_000"]
"""What makes a run of `end_to_end` a short one, beside its steps."""


def options_of(given: argparse.Namespace) -> list[str]:
    """Return what all contenders share."""
    return [f"task={given.task}", "run_dir=unused", "learner.compile=false", "video=false", "hand_over=false",
            "wandb.mode=disabled"]  # fmt: skip


def workers_of(given: argparse.Namespace, kind: str) -> list[str]:
    """Return the options of as many workers as there are cores."""
    return [f"collector={kind}", f"collector.workers={given.cores}"]


def parts(config: TrainConfig):
    """Return task, learner and replay of a run with these options."""
    here = config.num_envs if config.collector.kind == "local" else 1
    task = make_task(config.task, here, independent_seeds(config.seed).environments)
    sizes = (task.spec.input_size, task.spec.action_size)
    learner = Learner(config.learner, *sizes, CPU, 0)
    return task, learner, make_replay(config, sizes, CPU, 0)


@contextlib.contextmanager
def collecting(config: TrainConfig) -> Iterator[Collector | RemoteCollector]:
    """Give a collector without a learner's updates."""
    with contextlib.ExitStack() as stack:
        task, learner, replay = parts(config)
        stack.callback(task.close)
        if config.collector.kind == "local":
            yield Collector(task, learner.policy, replay, CPU, 0)
            return
        workers = RayWorkers(config) if config.collector.kind == "ray" else ProcessWorkers(config)
        collector = RemoteCollector(config, task.spec, learner, replay, workers)
        stack.callback(collector.close)
        collector.start()
        yield collector


def steps_per_second(collector: Collector | RemoteCollector, config: TrainConfig) -> float:
    """Return environment steps per second over a block; what workers had done before it does not count."""
    for _ in range(2 * config.collector.workers * config.collector.ahead):
        collector.step()
    first, start = collector.env_steps, time.perf_counter()
    while time.perf_counter() - start < BLOCK:
        collector.step()
    return (collector.env_steps - first) / (time.perf_counter() - start)


@contextlib.contextmanager
def ray_for(config: TrainConfig, workers: int) -> Iterator[None]:
    """Start Ray once for all contenders."""
    connect(dataclasses.replace(config.collector, workers=workers))
    try:
        yield
    finally:
        disconnect()


def shown(values: list[float], form: str) -> str:
    """Return median and range."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def collect(given: argparse.Namespace) -> str:
    """Return the table of environment steps per second."""
    local = options_of(given)
    contenders = {
        "local": local,
        f"local, task.workers={given.cores}": [*local, f"task.workers={given.cores}"],
        "overlapped": [*local, *workers_of(given, "overlapped")],
        "ray": [*local, *workers_of(given, "ray")],
        "ray, collector.ahead=2": [*local, *workers_of(given, "ray"), "collector.ahead=2"],
    }
    configs = {name: composed_train(*words) for name, words in contenders.items()}
    speeds: dict[str, list[float]] = {name: [] for name in configs}
    with ray_for(configs["ray"], 2 * given.cores), contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(collecting(config)) for name, config in configs.items()}
        for _ in range(given.rounds):
            for name, collector in running.items():
                speeds[name].append(steps_per_second(collector, configs[name]))
    locals_ = [name for name in speeds if name.startswith("local")]
    best = [max(speeds[name][number] for name in locals_) for number in range(given.rounds)]
    rows = ["| collector | env steps/s | of the faster local collector |", "|---|---|---|"]
    for name, values in speeds.items():
        ratios = [value / other for value, other in zip(values, best, strict=True)]
        rows.append(f"| {name} | {shown(values, ',.0f')} | {shown(ratios, '.2f')} |")
    return "\n".join([*rows, "", "Aim: `ray` at 0.80 or more."])


def seconds_of(config: TrainConfig) -> float:
    """Return the seconds of a run's learning and evaluations. Its start and its export do not count."""
    learn, seconds = training.learn, [0.0]

    def timed(*arguments: object) -> None:
        start = time.perf_counter()
        learn(*arguments)  # type: ignore[arg-type]
        seconds[0] = time.perf_counter() - start

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(mock.patch.object(training, "learn", timed))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        training.train(dataclasses.replace(config, run_dir=f"{folder}/run"))
    return seconds[0]


def end_to_end(given: argparse.Namespace) -> str:
    """Return the table of seconds of whole runs."""
    short = [f"steps={given.steps}", *SHORT]
    shared = [*options_of(given), *short]
    contenders = {
        "local": shared,
        "overlapped, one worker": [*shared, "collector=overlapped"],
        "ray": [*shared, *workers_of(given, "ray")],
    }
    configs = {name: composed_train(*words) for name, words in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in configs}
    with ray_for(configs["ray"], given.cores):
        for _ in range(given.rounds):
            for name, config in configs.items():
                seconds[name].append(seconds_of(config))
    rows = ["| collector | seconds | speed, local = 1 |", "|---|---|---|"]
    for name, values in seconds.items():
        ratios = [other / value for value, other in zip(values, seconds["local"], strict=True)]
        rows.append(f"| {name} | {shown(values, '.1f')} | {shown(ratios, '.2f')} |")
    return "\n".join([*rows, "", f"Runs with `{' '.join(short)}`. Aim: `ray` at 0.95 or more."])


def wire(given: argparse.Namespace) -> str:
    """Return the table of bytes."""
    config = composed_train(*options_of(given), *workers_of(given, "ray"))
    _, learner, _ = parts(config)
    weights, segment = (
        weights_of(learner.policy),
        Worker(dataclasses.asdict(config), 0, 0).collect(0, 0, None),
    )
    transitions = segment["rows"].shape[0] * segment["rows"].shape[1]
    sent = {"a segment": (segment, written_bytes(segment)), "the weights": (weights, written_bytes(weights))}
    rows = ["| what | arrays, bytes | as Ray writes it | more |", "|---|---|---|---|"]
    for name, (value, written) in sent.items():
        arrays = sum(part.nbytes for part in value.values() if hasattr(part, "nbytes"))
        rows.append(f"| {name} | {arrays:,} | {written:,} | {written / arrays - 1.0:.1%} |")
    per = sent["a segment"][1] / transitions
    rows.append("")
    rows.append(
        f"A segment has {transitions} transitions of {per:.0f} bytes. Aim: at most 20 % above the arrays."
    )
    return "\n".join(rows)


def written_bytes(value: object) -> int:
    """Return the size of a value as Ray puts it into the object store and sends it to another node."""
    import ray
    from ray._private.serialization import SerializationContext

    context = SerializationContext(ray._private.worker.global_worker)
    return int(context.serialize(value).total_bytes)


PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], str]]] = {
    "wire": ("Bytes on the wire", wire),
    "collect": ("Collecting without updates", collect),
    "end_to_end": ("Whole runs", end_to_end),
}


def where_and_how(given: argparse.Namespace, load: float) -> str:
    """Return date, command, revision, machine and versions."""
    command = " ".join(["python benchmarks/distributed.py", *given.words])
    return (
        f"{date.today().isoformat()}, `{command}` at revision {revision()}, {cpu_model()}, {given.cores} of "
        f"{os.cpu_count()} cores, load average before {load:.1f} and after {os.getloadavg()[0]:.1f}; "
        f"{versions('acer')}, ray {metadata.version('ray')}. {given.task}, {given.cores} workers, {given.rounds} "
        "rounds; medians with the range."
    )


def main() -> None:
    """Measure the parts that are asked for; print each and write it to the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--task", default="halfcheetah")
    parser.add_argument(
        "--cores", type=positive, default=2, help="cores of each contender, and number of workers"
    )
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--steps", type=positive, default=12_000, help="steps of a run of end_to_end")
    parser.add_argument("--out", type=Path, default=PAGE, help="page whose sections are replaced")
    given = parser.parse_args()
    given.words = sys.argv[1:]
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # workers inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
    for name in given.part:
        title, measure = PARTS[name]
        load = os.getloadavg()[0]
        section = f"## {title}\n\n{where_and_how(given, load)}\n\n{measure(given)}"
        print(f"\n{section}", flush=True)
        page = (
            given.out.read_text(encoding="utf-8")
            if given.out.exists()
            else "# Workers beside the local collector\n"
        )
        given.out.write_text(with_section(page, name, section, "benchmarks/distributed.py"), encoding="utf-8")


if __name__ == "__main__":
    in_one_line(main)
