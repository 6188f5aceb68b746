"""Who collects: the parts of a run that depend on `collector`, and evaluations that run beside training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from acer_robot.errors import InputError, TaskError
from acer_robot.experience.collector import Collector
from acer_robot.experience.replay import Replay
from acer_robot.experience.seeds import independent_seeds, seed_at
from acer_robot.experience.update_counter import updates_per_transition
from acer_robot.learner.learner import Learner
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.schema import CollectorConfig, TrainConfig, check_choice
from acer_robot.tasks import VectorTask

if TYPE_CHECKING:
    from acer_robot.distributed.evaluation import Evaluations
    from acer_robot.distributed.remote_collector import RemoteCollector
    from acer_robot.training.parts import Run

MOST_EVALUATIONS = 4
"""Evaluations on their way at a time; each keeps a copy of the learner. The learner waits where there would be more."""


def check_collector(config: TrainConfig) -> None:
    """Raise InputError for options of the collector that cannot be used, or that exclude each other."""
    options = config.collector
    check_choice("collector", options.kind, ("local", "overlapped", "ray"))
    if options.kind == "local":
        for field in dataclasses.fields(CollectorConfig):
            if (value := getattr(options, field.name)) != field.default:
                raise InputError(
                    f"collector.{field.name}={value} has no effect with collector=local; add collector=ray "
                    "or collector=overlapped"
                )
        return
    if options.kind == "overlapped" and (options.address is not None or options.dashboard):
        name = "dashboard" if options.address is None else "address"
        raise InputError(
            f"collector.{name}={getattr(options, name)} is of Ray, which collector=overlapped does "
            "not use; add collector=ray"
        )
    if config.task.backend == "warp":
        raise InputError(
            f"task.backend=warp simulates on the learner's device, and workers of collector={options.kind} have none; "
            "use task.backend=batch, or collector=local"
        )
    if config.task.workers:
        raise InputError(
            f"task.workers={config.task.workers} are processes of the local collector, and collector={options.kind} "
            "has collector.workers; set task.workers=0"
        )
    if config.num_envs % options.workers:
        raise InputError(
            f"num_envs={config.num_envs} cannot be divided among collector.workers={options.workers}; set num_envs="
            f"{options.workers * math.ceil(config.num_envs / options.workers)}"
        )
    if config.learner.on_policy:
        raise InputError(
            "learner.on_policy=true needs segments of the present policy, and those of workers are older; use "
            "collector=local"
        )
    if not options.synchronous:
        _check_asynchronous(config)
    elif options.workers != 1:
        raise InputError(
            f"collector.synchronous=true waits for each step of one worker, and collector.workers="
            f"{options.workers}; set collector.workers=1"
        )


def _check_asynchronous(config: TrainConfig) -> None:
    """Raise InputError for segments that could not be replayed or stored, or a staleness that cannot be kept."""
    options = config.collector
    if options.segment_length < config.learner.segment_length:
        raise InputError(
            f"collector.segment_length={options.segment_length} is shorter than learner.segment_length="
            f"{config.learner.segment_length}, so nothing could be replayed; set collector.segment_length="
            f"{config.learner.segment_length} or more"
        )
    needed = options.segment_length * num_envs_of_worker(config)
    if config.learner.replay_size < needed:
        raise InputError(
            f"learner.replay_size={config.learner.replay_size} does not hold one segment of a worker; set it to "
            f"{needed} or more"
        )
    if options.max_staleness < (least := least_staleness(config)):
        raise InputError(
            f"collector.max_staleness={options.max_staleness} cannot be kept: while each of collector.workers="
            f"{options.workers} has its turn, {least} updates pass; set it to {least} or more"
        )


def num_envs_of_worker(config: TrainConfig) -> int:
    """Return how many environments one worker steps."""
    return config.num_envs // config.collector.workers


def least_staleness(config: TrainConfig) -> int:
    """Return the updates that pass while one segment of each place is taken up."""
    transitions = config.collector.segment_length * num_envs_of_worker(config)
    places = config.collector.workers * config.collector.ahead + 1
    return math.ceil(places * transitions * updates_per_transition(config.learner))


def make_replay(config: TrainConfig, sizes: tuple[int, int], device: torch.device, seed: int) -> Replay:
    """Return the replay of a run.

    Raises:
        InputError: if it does not fit into the device's memory.
    """
    options, columns, block = config.learner, config.num_envs, None
    # No larger than what the run collects, so that the default's memory is only taken by a run that needs it.
    room = min(options.replay_size, config.steps + options.segment_length * columns)
    if config.collector.kind != "local" and not config.collector.synchronous:
        columns, block = num_envs_of_worker(config), config.collector.segment_length
        room = min(options.replay_size, config.steps + block * columns)
        room = max(room, block * columns)
    return Replay(
        room,
        columns,
        *sizes,
        options.segment_length,
        device,
        seed,
        block=block,
        priority_exponent=options.priority_exponent,
    )


def make_collector(
    config: TrainConfig,
    task: VectorTask,
    learner: Learner,
    replay: Replay,
    device: torch.device,
    is_new: bool,
) -> tuple[Collector | RemoteCollector, Evaluations | None]:
    """Return the collector of a run, and what evaluates beside training, if anything does.

    Raises:
        InputError: if there is no cluster, or a worker cannot start or does not fit.
    """
    if config.collector.kind == "local":
        seed = independent_seeds(config.seed).exploration
        return Collector(task, learner.policy, replay, device, seed), None
    from acer_robot.distributed.start import remote_collector, remote_evaluations

    collector = remote_collector(config, task.spec, learner, replay, is_new)
    return collector, remote_evaluations(config)


def begin_evaluation(run: Run, log: RunLogger, stop_if_interrupted: Callable[[], None]) -> None:
    """Send the present policies out to be evaluated, and write a checkpoint of the present state."""
    assert run.evaluations is not None
    while len(run.evaluations) >= MOST_EVALUATIONS:
        stop_if_interrupted()
        take_evaluation(run, log, 1.0)
    run.check()
    run.evaluation_pending = True
    step, state = run.good
    seed = seed_at(independent_seeds(run.config.seed).evaluation, step)
    run.evaluations.begin(step, run.watch.seconds, seed, run.learner, state)
    run.checkpoint(log.state())
    film(run, log, step)


def film(run: Run, log: RunLogger, step: int) -> None:
    """Let the newest checkpoint be rendered if a video may be due; it must be written first."""
    if log.films:
        run.writer.wait()
    log.film(step)


def take_evaluation(run: Run, log: RunLogger, seconds: float = 0.0) -> None:
    """If the oldest evaluation on its way is done, write its row, and the checkpoint `best` if it is the best so far.

    Raises:
        TaskError: if the evaluation failed, and environments are not to be made anew.
    """
    if run.evaluations is None:
        return
    try:
        done = run.evaluations.finished(seconds)
    except TaskError as error:
        log.say(run.count_rebuild(error))
        run.evaluations.repeat()
        return
    if done is None:
        return
    log.log_evaluation(done.step, done.row)
    run.evaluation_pending = len(run.evaluations) > 0
    mean = done.row["eval/return_mean"]
    if done.state["updates"] and math.isfinite(mean) and mean >= run.best:
        run.best = mean
        run.save("best", done.step, done.state)
