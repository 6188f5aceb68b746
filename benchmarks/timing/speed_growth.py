"""How the cost grows: the update with batch and width, collecting with environments, a draw with the replay's size."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

import torch
from timing.blocks import Call, in_turn, ratio, spread
from timing.fresh_learner import ENVIRONMENTS, JOINTS, OBSERVATIONS, can_compile, filled_replay
from timing.speed_run import TASK
from timing.speed_update import update_call

from acer_robot.experience.collector import Collector
from acer_robot.experience.replay import Replay, free_memory
from acer_robot.learner.learner import Learner
from acer_robot.schema import LearnerConfig, TaskConfig
from acer_robot.tasks import make_task

SEGMENTS = (4, 16, 64, 256)
WIDTHS = (64, 256, 1024)
NUM_ENVS = (1, 4, 16, 64, 256)
REPLAYS = (10**4, 10**5, 10**6, 10**7)
SPARE = 1.25
"""A replay is left out if this many times its size is not free."""


def growth(options: argparse.Namespace, device: torch.device) -> str:
    """Measure; return the tables."""
    compiling = not options.eager and can_compile(device)
    parts = [of_updates(options, device, compiling), of_environments(options, device)]
    return "\n\n".join([*parts, of_replays(options, device)])


def of_updates(options: argparse.Namespace, device: torch.device, compiling: bool) -> str:
    """Return the update's time over batch and width, which share the row of the learner's default."""
    plain = LearnerConfig(compile=compiling)
    replay = filled_replay(plain, device)
    settings = {f"{count * plain.segment_length} states": {"segments": count} for count in SEGMENTS}
    settings |= {f"2x{width}": {"hidden": [width, width]} for width in WIDTHS if [width] * 2 != plain.hidden}
    default = f"{plain.segments * plain.segment_length} states"
    calls: dict[str, Call] = {}
    for name, changes in settings.items():
        calls[name] = update_call(dataclasses.replace(plain, precision="float32", **changes), replay, device)
    times = in_turn(calls, options.rounds, options.block, device)
    lines = ["| update | ms | over the default | transitions/s |", "|---|---|---|---|"]
    for name, here in times.items():
        states = int(name.split()[0]) if name.endswith("states") else plain.segments * plain.segment_length
        rate = spread([states / seconds for seconds in here])
        shown = f"{name} (the learner's default, 2x{plain.hidden[0]})" if name == default else name
        cells = [
            shown,
            spread(here).shown(".2f", 1e3),
            ratio(here, times[default]).shown(".2f"),
            rate.shown(",.0f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    kind = "compiled" if compiling else "eager"
    return "\n".join([*lines, "", f"float32, {kind}; one thing is changed at a time."])


def of_environments(options: argparse.Namespace, device: torch.device) -> str:
    """Return environment steps a second of collecting alone, without a learner."""
    learner = Learner(LearnerConfig(compile=False), OBSERVATIONS, JOINTS, device)
    calls: dict[str, Call] = {}
    tasks = []
    for count in NUM_ENVS:
        task = make_task(TaskConfig("gymnasium", TASK), count, 0)
        replay = Replay(1_000 * count, count, OBSERVATIONS, JOINTS, 8, device)
        calls[str(count)] = Collector(task, learner.policy, replay, device, 0).step
        tasks.append(task)
    times = in_turn(calls, options.rounds, options.block, device)
    for task in tasks:
        task.close()
    lines = [
        "| environments | environment steps/s of collecting alone | times one environment |",
        "|---|---|---|",
    ]
    for name, here in times.items():
        each = [seconds / int(name) for seconds in here]
        rate = spread([1.0 / seconds for seconds in each])
        lines.append(
            f"| {name} | {rate.shown(',.0f')} | {ratio(times[str(NUM_ENVS[0])], each).shown('.2f')} |"
        )
    return "\n".join(lines)


def of_replays(options: argparse.Namespace, device: torch.device) -> str:
    """Return the time of a draw from full replays, and their size."""
    segments, calls, sizes, left_out = (
        LearnerConfig().segments,
        dict[str, Call](),
        dict[str, int](),
        list[str](),
    )
    for transitions in (size for size in REPLAYS if size <= options.largest_replay):
        name, needed, free = f"{transitions:,}", replay_bytes(transitions), free_memory(device)
        if free is not None and SPARE * needed > free:
            left_out.append(
                f"| {name} | not run: {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free | | |"
            )
            continue
        replay = full_replay(transitions, device)
        calls[name], sizes[name] = (lambda replay=replay: replay.sample(segments)), needed
    times = in_turn(calls, options.rounds, options.block, device)
    lines = [f"| transitions in the replay | us a draw of {segments} segments | over the first row | MiB |"]
    lines.append("|---|---|---|---|")
    first = next(iter(times.values()), [])
    for name, here in times.items():
        cells = [
            name,
            spread(here).shown(".0f", 1e6),
            ratio(here, first).shown(".2f"),
            f"{sizes[name] / 2**20:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *left_out])


def replay_bytes(transitions: int) -> int:
    """Return the size of a replay."""
    steps = 1_000
    replay = Replay(steps * ENVIRONMENTS, ENVIRONMENTS, OBSERVATIONS, JOINTS, 1, torch.device("cpu"))
    return replay.memory_bytes * transitions // (steps * ENVIRONMENTS)


def full_replay(transitions: int, device: torch.device) -> Replay:
    """Return a replay with every row written."""
    replay = Replay(transitions, ENVIRONMENTS, OBSERVATIONS, JOINTS, LearnerConfig().segment_length, device)
    state = replay.state()
    rows = torch.randn(
        min(1_000, replay.capacity), ENVIRONMENTS, replay.row_bytes // 4 // ENVIRONMENTS, device=device
    )
    rows[:-1, :, OBSERVATIONS : 2 * OBSERVATIONS] = rows[1:, :, :OBSERVATIONS]  # an episode that goes on

    def parts() -> Iterator[torch.Tensor]:
        for first in range(0, replay.capacity, len(rows)):
            yield rows[: replay.capacity - first]

    replay.restore(state | {"added": replay.capacity, "size": replay.capacity}, parts())
    return replay
