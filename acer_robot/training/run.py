"""One run: collect, replay, evaluate; then leave an exported policy, a video and a report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from acer_robot.errors import NonFiniteError, TaskError
from acer_robot.experience.collector import Collector
from acer_robot.experience.episodes import check_episodes_end, deterministic, run_episodes
from acer_robot.experience.replay import Replay
from acer_robot.experience.seeds import independent_seeds
from acer_robot.experience.update_counter import Batches, updates_per_transition
from acer_robot.interrupt import Interrupted, deferred_interrupt
from acer_robot.learner.compiler import choose_compiling
from acer_robot.learner.diagnostics import distributions, summarise
from acer_robot.learner.gradients import Diagnostics
from acer_robot.learner.learner import Learner
from acer_robot.provenance import Software, this_software
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.checkpoints import save_checkpoint
from acer_robot.run_folder.layout import create_run_dir, write_environment, write_traceback
from acer_robot.schema import TrainConfig
from acer_robot.tasks import VectorTask, absolute_files, make_task
from acer_robot.training.feasible import check_joints
from acer_robot.training.finish import hand_over
from acer_robot.training.timing import Every, Stopwatch
from acer_robot.training.validate import check_train, select_device


@dataclass
class Run:
    """The parts of a training run."""

    config: TrainConfig
    device: torch.device
    task: VectorTask
    evaluation_task: VectorTask
    learner: Learner
    replay: Replay
    collector: Collector
    software: Software = field(default_factory=this_software)
    """The code that trains, as it was when the run began."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    good: tuple[int, dict[str, Any]] = (0, {})
    """Environment step and state of the learner when all of its numbers were last seen to be finite."""

    seen: Diagnostics | None = None
    """Diagnostics of the last update; None before the first."""

    best: float = -math.inf
    """Highest return of the average policy in an evaluation."""

    def mark_good(self) -> None:
        """Remember the learner's present state as one to go back to."""
        self.good = (self.collector.env_steps, self.learner.checkpoint_state())

    def check(self) -> dict[str, float]:
        """Return the numbers of the last update, none before the first; the learner is good if they are finite.

        Raises:
            NonFiniteError: if one of them is not.
        """
        numbers = (
            summarise(self.seen, self.learner, self.collector.env_steps) if self.seen is not None else {}
        )
        self.mark_good()
        return numbers

    def checkpoint(self, average_return: float) -> None:
        """Write the good state as `latest`, for a run that is killed, and as `best` if no evaluation was higher.

        Before the first update nothing is written.
        """
        if self.seen is None:
            return
        with self.watch.paused():
            self.save("latest", *self.good)
            if average_return >= self.best:
                self.best = average_return
                self.save("best", *self.good)

    def save(self, name: str, step: int, state: dict[str, Any]) -> Path:
        """Write checkpoints/<name>.pt of the run folder."""
        run_dir, spec = Path(self.config.run_dir), self.task.spec
        return save_checkpoint(run_dir, state, self.config, spec, step, name, self.software)


def prepare(config: TrainConfig) -> Run:
    """Check every option and build all parts, before anything is created on disk."""
    check_train(config)
    device = select_device(config.device)
    updates = config.steps / config.task.action_repeat * updates_per_transition(config.learner)
    compiling = choose_compiling(config.learner.compile, updates, device, config.threads)
    options = dataclasses.replace(config.learner, compile=compiling)
    config = dataclasses.replace(config, learner=options, task=absolute_files(config.task))
    torch.set_num_threads(config.threads)
    seeds = independent_seeds(config.seed)
    task = make_task(config.task, config.num_envs, seeds.environments)
    check_joints(task.spec)
    evaluation_task = make_task(config.task, config.eval_episodes, seeds.evaluation)
    if task.spec.time_limit == 0:
        # In an environment of its own, so that no number of the run depends on it.
        trial = make_task(config.task, 1, seeds.evaluation)
        try:
            check_episodes_end(trial)
        finally:
            trial.close()
    sizes = (task.spec.input_size, task.spec.action_size)
    learner = Learner(options, *sizes, device, seeds.learner)
    # No larger than what the run collects, so that the default's memory is only taken by a run that needs it.
    room = min(options.replay_size, config.steps + options.segment_length * config.num_envs)
    replay = Replay(room, config.num_envs, *sizes, options.segment_length, device, seeds.replay)
    collector = Collector(task, learner.policy, replay, device, seeds.exploration)
    run = Run(config, device, task, evaluation_task, learner, replay, collector)
    run.mark_good()
    return run


def learn(run: Run, log: RunLogger) -> None:
    """The whole of training: act, store, replay, and now and then log and evaluate.

    Raises:
        NonFiniteError: if an observation, a reward or a number of the learner is NaN or infinite.
        Interrupted: between two steps, if Ctrl-C was pressed, or SIGTERM or SIGHUP arrived.
        KeyboardInterrupt: at any moment, if Ctrl-C was pressed again.
    """
    config, learner, collector = run.config, run.learner, run.collector
    batches = Batches(run.replay, config.learner, independent_seeds(config.seed).update_counter)
    log_due, evaluation_due = Every(config.log_every), Every(config.eval_every)
    with deferred_interrupt() as stop_if_interrupted:
        while collector.env_steps < config.steps:
            stop_if_interrupted()
            run.returns.extend(collector.step())
            for batch in batches.due(collector.transitions):
                run.seen = learner.update(batch)
            if learner.updates and log_due(collector.env_steps):
                log.log_metrics(collector.env_steps, rollout(run) | run.check())
                if config.wandb.histograms:
                    log.log_histograms(
                        collector.env_steps, distributions(learner, run.replay.latest(0, config.num_envs))
                    )
            if evaluation_due(collector.env_steps) or collector.env_steps >= config.steps:
                run.check()  # whatever the log row did: what is evaluated is kept
                evaluation = evaluate(run, stop_if_interrupted)
                log.log_evaluation(collector.env_steps, evaluation)
                run.checkpoint(evaluation["eval/return_mean"])
                log.film(collector.env_steps)
            log.progress(collector.env_steps, {"return": f"{run.returns[-1]:.0f}" if run.returns else "-"})


def leave(run: Run) -> None:
    """Write the good state as `latest` and close the tasks.

    A run that was stopped before a good state with an update leaves no checkpoint: there is nothing to export.
    """
    step, state = run.good
    try:
        if state["updates"] > 0 or run.collector.env_steps >= run.config.steps:
            path = run.save("latest", step, state)
            print(f"checkpoint of environment step {step:,}: {path}", flush=True)
    finally:
        run.task.close()
        run.evaluation_task.close()


def rollout(run: Run) -> dict[str, float]:
    """Return what is known without the learner: returns while exploring, speed, number of updates."""
    mean = sum(run.returns) / len(run.returns) if run.returns else float("nan")
    return {
        "rollout/ep_return": mean,
        "time/seconds": run.watch.seconds,
        "time/sps": run.collector.env_steps / run.watch.seconds,
        "time/updates": run.learner.updates,
    }


def evaluate(run: Run, between_steps: Callable[[], None] | None = None) -> dict[str, float]:
    """Evaluate the average and the online policy: deterministic, frozen statistics, environments of their own.

    `between_steps` is called before each step of the episodes; it may raise.
    """
    with run.watch.paused():
        task = run.evaluation_task
        average = run_episodes(deterministic(run.learner.deployed_policy, task), task, between_steps)
        online = run_episodes(deterministic(run.learner.policy, task), task, between_steps)
    return {
        "seconds": run.watch.seconds,
        "eval/return_mean": float(average.returns.mean()),
        "eval/return_std": float(average.returns.std()),
        "eval/return_online": float(online.returns.mean()),
        "eval/length_mean": float(average.lengths.mean()),
    }


def train(config: TrainConfig) -> Path:
    """Train a policy and leave everything in the run folder, whose path is returned.

    Raises:
        InputError: before anything is created, if an option cannot be used.
        NonFiniteError: if a NaN turned up; the last good state has then been checkpointed.
        TaskError: if an environment failed; the present state has then been checkpointed, and the traceback is in the
            run folder.
    """
    run = prepare(config)
    config = run.config
    run_dir = create_run_dir(config)
    write_environment(run_dir, run.software)
    with RunLogger(run_dir, config.wandb, dataclasses.asdict(config), config.steps) as log:
        try:
            learn(run, log)
        except Interrupted:
            run.check()  # nothing is half done, so the present state is kept if its numbers are finite
            raise
        except TaskError as error:
            with contextlib.suppress(NonFiniteError):
                run.check()  # the failed step changed nothing in the learner
            raise TaskError(f"{error}; its traceback is in {write_traceback(run_dir, error)}") from error
        finally:
            leave(run)
        log.close(hand_over(run_dir, config) if config.hand_over else [])
    return run_dir
