"""One run: collect, replay, evaluate; then leave an exported policy, a video and a report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.experience.collector import RECENT, Collector
from acer_robot.experience.episodes import check_episodes_end, deterministic, run_episodes
from acer_robot.experience.replay import Replay
from acer_robot.experience.seeds import independent_seeds, seed_at
from acer_robot.experience.update_counter import Batches, updates_per_transition
from acer_robot.interrupt import Interrupted, deferred_interrupt
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.compiler import choose_compiling
from acer_robot.learner.diagnostics import check_finite, distributions, summarise
from acer_robot.learner.gradients import Diagnostics
from acer_robot.learner.learner import Learner
from acer_robot.learner.precision import choose_precision
from acer_robot.provenance import Software, this_software
from acer_robot.reporting.home_picture import FILE as HOME_PICTURE
from acer_robot.reporting.home_picture import draw_home
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.checkpoints import save_checkpoint
from acer_robot.run_folder.layout import (
    create_run_dir,
    is_empty,
    write_environment,
    write_options,
    write_traceback,
)
from acer_robot.run_folder.owner import owned
from acer_robot.run_folder.replay_files import Files, remove_rows, write_rows
from acer_robot.run_folder.status import write_status
from acer_robot.schema import TrainConfig
from acer_robot.shell import typed
from acer_robot.tasks import VectorTask, absolute_files, make_task, make_training_task
from acer_robot.tasks.robot.portrait import robot_xml
from acer_robot.training.announce import Sizes, start_block
from acer_robot.training.feasible import check_joints
from acer_robot.training.finish import hand_over
from acer_robot.training.incidents import cause, keep_incident
from acer_robot.training.initial import take_networks
from acer_robot.training.resume import Point, newest_point, point_of, restore_run, run_state, task_state
from acer_robot.training.timing import Every, Stopwatch
from acer_robot.training.validate import check_train, select_device
from acer_robot.training.watchdog import watchdog

CHECK_UPDATES = 1000
"""Updates between two checks that all numbers of the learner are finite, beside those of rows and checkpoints."""


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
    batches: Batches
    log_due: Every
    evaluation_due: Every
    software: Software = field(default_factory=this_software)
    """The code that trains, as it was when the run began."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    good: tuple[int, dict[str, Any]] = (0, {})
    """Environment step and state of the learner when all of its numbers were last seen to be finite."""

    task_before: dict[str, Any] = field(default_factory=lambda: {"missing": "training had not begun"})
    """State of the environments before the collector's remembered commands; or why there is none."""

    batch: Trajectory | None = None
    """What the last update learnt from."""

    rebuilds: int = 0
    """How often the environments were made anew because one failed."""

    outliers: int = 0
    """Outliers of the observations that were reported."""

    seen: Diagnostics | None = None
    """Diagnostics of the last update; None before the first."""

    numbers: dict[str, float] = field(default_factory=dict)
    """Numbers of the last update that was looked at."""

    best: float = -math.inf
    """Highest return of the exported policy in an evaluation."""

    evaluation_pending: bool = False
    """Whether an evaluation is due at the present step and not in eval.csv yet."""

    is_whole: bool = False
    """Whether the run was left between two steps, so that it can go on from its present state."""

    saved: int = -1
    """Environment step of the newest checkpoint."""

    latest_is_whole: bool = True
    """Whether a run can go on from `latest`; if not, it is not kept beside its successor."""

    saved_at: float = field(default_factory=time.monotonic)
    """Time of the newest checkpoint."""

    replay_files: Files = field(default_factory=list)
    """Files that make up the replay of the newest checkpoint."""

    oldest_rows: deque[int] = field(default_factory=deque)
    """Number of the replay's oldest row in each checkpoint that is kept, the newest last."""

    def mark_good(self) -> None:
        """Remember the learner's present state as one to go back to."""
        self.good = (self.collector.env_steps, self.learner.checkpoint_state())

    def mark_task(self) -> None:
        """Remember the environments' present state, from which the next commands can be repeated."""
        self.task_before = task_state(self.task)
        self.collector.commands.clear()

    def check(self) -> dict[str, float]:
        """Return the numbers of the last update, none before the first; the learner is good if all is finite.

        Raises:
            NonFiniteError: if one of them, or a number that the learner holds, is not.
        """
        if self.seen is not None:
            self.numbers = summarise(self.seen, self.learner, self.collector.env_steps)
        check_finite(self.learner, self.collector.env_steps)
        self.mark_good()
        return self.numbers

    @property
    def checkpoint_due(self) -> bool:
        """Whether the newest checkpoint is `checkpoint.every_minutes` old."""
        return time.monotonic() - self.saved_at >= 60.0 * self.config.checkpoint.every_minutes

    def checkpoint(self, log_state: dict[str, Any], average_return: float = -math.inf) -> None:
        """Write the present state as `latest`, and the learner as `best` if no evaluation was higher.

        The state must be a checked one, between two steps. Before the first update nothing is written.
        """
        if not self.learner.updates:
            return
        options, run_dir = self.config.checkpoint, Path(self.config.run_dir)
        self.returns.extend(self.collector.finished())
        with self.watch.paused():
            if is_best := average_return >= self.best and math.isfinite(average_return):
                self.best = average_return
            if options.replay:
                self.replay_files = write_rows(run_dir, self.replay, self.replay_files)
            self.oldest_rows = deque([*self.oldest_rows, self.replay.oldest], maxlen=options.keep + 1)
            self.save("latest", *self.good, run_state(self, log_state))
            if is_best:
                self.save("best", *self.good)
            remove_rows(run_dir, min(self.oldest_rows))
        self.saved_at = time.monotonic()

    def save(self, name: str, step: int, state: dict[str, Any], resume: dict[str, Any] | None = None) -> Path:
        """Write checkpoints/<name>.pt of the run folder."""
        run_dir, spec = Path(self.config.run_dir), self.task.spec
        keep = self.config.checkpoint.keep if name == "latest" and self.latest_is_whole else None
        path = save_checkpoint(run_dir, state, self.config, spec, step, name, self.software, resume, keep)
        if name == "latest":
            self.saved, self.latest_is_whole = step, resume is not None
        return path

    def start_episodes(self, step: int, attempt: int = 0) -> None:
        """Replace the environments of training by new ones, whose seeds follow from the run's seed and the step."""
        self.task.close()
        seeds = independent_seeds(self.config.seed)
        config, seed = self.config, seed_at(seeds.environments, step, attempt)
        self.task = make_training_task(
            config.task, config.num_envs, seed, config.step_timeout, training_on=self.device
        )
        self.collector = Collector(
            self.task, self.learner.policy, self.replay, self.device, seeds.exploration
        )

    def count_rebuild(self, error: TaskError) -> str:
        """Return a line that says that environments are made anew after one failed.

        Raises:
            TaskError: the same, if it is not to be done or was done too often.
        """
        config = self.config
        if config.on_environment_error != "rebuild" or self.rebuilds >= config.max_rebuilds:
            raise error
        self.rebuilds += 1
        write_traceback(Path(config.run_dir), error)
        return f"{error}; the environments are made anew ({self.rebuilds} of at most {config.max_rebuilds} times)"

    def rebuild(self) -> None:
        """Make the environments of training anew; their present episodes are dropped."""
        state = self.collector.state()
        self.start_episodes(self.collector.env_steps, self.rebuilds)
        self.collector.restore(state, episodes=False)
        self.replay.cut()
        self.mark_task()

    def change_streams(self, attempt: int) -> None:
        """Go on from the present state with other random numbers and new episodes."""
        seeds, step, state = (
            independent_seeds(self.config.seed),
            self.collector.env_steps,
            self.collector.state(),
        )
        self.start_episodes(step, attempt)
        self.collector.restore(state, episodes=False)
        self.collector.reseed(seed_at(seeds.exploration, step, attempt))
        self.replay.reseed(seed_at(seeds.replay, step, attempt))
        if self.learner.generator is not None:
            self.learner.generator.manual_seed(seed_at(seeds.learner, step, attempt))

    def start_evaluations(self) -> None:
        """Replace the environments of evaluations by new ones."""
        self.evaluation_task.close()
        seed = independent_seeds(self.config.seed).evaluation
        config = self.config
        self.evaluation_task = make_training_task(
            config.task, config.eval_episodes, seed, config.step_timeout
        )


def prepare(config: TrainConfig, resuming: bool = False) -> Run:
    """Check every option and build all parts, before anything is created on disk."""
    check_train(config, resuming)
    device = select_device(config.device)
    updates = config.steps / config.task.action_repeat * updates_per_transition(config.learner)
    torch.set_num_threads(config.threads)
    compiling = choose_compiling(config.learner.compile, updates, device, config.threads)
    precision = choose_precision(config.learner.precision, device)
    options = dataclasses.replace(config.learner, compile=compiling, precision=precision)
    config = dataclasses.replace(config, learner=options, task=absolute_files(config.task))
    seeds = independent_seeds(config.seed)
    task = make_training_task(
        config.task, config.num_envs, seeds.environments, config.step_timeout, training_on=device
    )
    check_joints(task.spec)
    evaluation_task = make_training_task(
        config.task, config.eval_episodes, seeds.evaluation, config.step_timeout
    )
    if task.spec.time_limit == 0:
        # In an environment of its own, so that no number of the run depends on it.
        trial = make_task(config.task, 1, seeds.evaluation)
        try:
            check_episodes_end(trial)
        finally:
            trial.close()
    sizes = (task.spec.input_size, task.spec.action_size)
    learner = Learner(options, *sizes, device, seeds.learner)
    if config.init_from is not None and not resuming:
        take_networks(learner, task.spec, Path(config.init_from))
    # No larger than what the run collects, so that the default's memory is only taken by a run that needs it.
    room = min(options.replay_size, config.steps + options.segment_length * config.num_envs)
    replay = Replay(room, config.num_envs, *sizes, options.segment_length, device, seeds.replay)
    collector = Collector(task, learner.policy, replay, device, seeds.exploration)
    batches = Batches(replay, options, seeds.update_counter)
    due = Every(config.log_every), Every(config.eval_every)
    run = Run(config, device, task, evaluation_task, learner, replay, collector, batches, *due)
    run.mark_good()
    return run


def learn(run: Run, log: RunLogger) -> None:
    """The whole of training: act, store, replay, and now and then log and evaluate.

    Raises:
        NonFiniteError: if an observation, a reward or a number of the learner is NaN or infinite.
        Interrupted: between two steps, if Ctrl-C was pressed, or SIGTERM or SIGHUP arrived.
        KeyboardInterrupt: at any moment, if Ctrl-C was pressed again.
    """
    config, learner = run.config, run.learner
    check_due = Every(CHECK_UPDATES)
    run.mark_task()
    with watchdog(config.step_timeout), deferred_interrupt() as stop_if_interrupted:
        if run.evaluation_pending:  # the run was stopped in the middle of an evaluation
            evaluate_and_save(run, log, stop_if_interrupted)
        while run.collector.env_steps < config.steps:
            stop_if_interrupted()
            try:
                run.returns.extend(run.collector.step())
            except TaskError as error:
                log.say(run.count_rebuild(error))
                run.rebuild()
                continue
            collector = run.collector
            for batch in run.batches.due(collector.transitions):
                run.batch, run.seen = batch, learner.update(batch)
            if len(collector.commands) == RECENT:
                run.mark_task()
            if check_due(learner.updates):
                run.check()
            if learner.updates and run.log_due(collector.env_steps):
                log.log_metrics(collector.env_steps, rollout(run) | run.check())
                if line := new_outliers(run):
                    log.say(line)
                if config.wandb.histograms:
                    latest = run.replay.latest(0, config.num_envs)
                    log.log_histograms(collector.env_steps, distributions(learner, latest))
            if run.evaluation_due(collector.env_steps) or collector.env_steps >= config.steps:
                evaluate_and_save(run, log, stop_if_interrupted)
            elif run.checkpoint_due:
                run.check()
                run.checkpoint(log.state())
            log.progress(collector.env_steps, learning=learner.updates > 0)


def evaluate_and_save(run: Run, log: RunLogger, stop_if_interrupted: Callable[[], None]) -> None:
    """Evaluate, write the row of eval.csv and a checkpoint of the present state."""
    run.evaluation_pending = True
    run.check()  # whatever the log row did: what is evaluated is kept
    evaluation = None
    while evaluation is None:
        try:
            evaluation = evaluate(run, stop_if_interrupted)
        except TaskError as error:
            log.say(run.count_rebuild(error))
            run.start_evaluations()
    log.log_evaluation(run.collector.env_steps, evaluation)
    run.evaluation_pending = False
    run.checkpoint(log.state(), evaluation["eval/return_mean"])
    log.film(run.collector.env_steps)


def leave(run: Run, log: RunLogger) -> None:
    """Write the state of the end, unless it is written already, and close the tasks.

    The learner is saved as it was when all of its numbers were last seen to be finite. A run that was stopped before a
    good state with an update leaves no checkpoint: there is nothing to export.
    """
    step, state = run.good
    log.end_progress()
    try:
        if state["updates"] > 0 or run.collector.env_steps >= run.config.steps:
            if run.is_whole:
                run.checkpoint(log.state())
            elif run.saved != step:
                run.save("latest", step, state)
            path = Path(run.config.run_dir) / "checkpoints" / "latest.pt"
            print(f"checkpoint of environment step {step:,}: {path}", flush=True)
    finally:
        run.task.close()
        run.evaluation_task.close()


def new_outliers(run: Run) -> str:
    """Return a line that names the entry of the observation with most outliers, the first time that there is one."""
    counts = run.collector.outliers
    if run.outliers or not counts.any():
        return ""
    run.outliers, entry = int(counts.sum()), int(counts.argmax())
    part = next(part for part in run.task.spec.observation if part.start <= entry < part.stop)
    return (
        f"observation {entry} ({part.name}) spiked: {int(counts[entry])} of its values were more than 1,000 standard "
        "deviations from their mean; the running statistics take them as nearer ones"
    )


def rollout(run: Run) -> dict[str, float]:
    """Return what is known without the learner: returns while exploring, speed, updates, the task's own numbers."""
    run.returns.extend(run.collector.finished())
    mean = sum(run.returns) / len(run.returns) if run.returns else float("nan")
    return {
        "rollout/ep_return": mean,
        "rollout/outliers": float(run.collector.outliers.sum()),
        "rollout/unstable_steps": float(getattr(run.task, "unstable_steps", 0)),
        "rollout/rebuilds": float(run.rebuilds),
        "time/seconds": run.watch.seconds,
        "time/sps": run.collector.env_steps / run.watch.seconds,
        "time/updates": run.learner.updates,
        **run.task.numbers(),
    }


def evaluate(run: Run, between_steps: Callable[[], None] | None = None) -> dict[str, float]:
    """Evaluate the average and the current policy: deterministic, frozen statistics, environments of their own.

    `between_steps` is called before each step of the episodes; it may raise.
    """
    with run.watch.paused():
        task = run.evaluation_task
        task.reseed(seed_at(independent_seeds(run.config.seed).evaluation, run.collector.env_steps))
        average = run_episodes(deterministic(run.learner.exported_policy, task), task, between_steps)
        online = run_episodes(deterministic(run.learner.policy, task), task, between_steps)
    return {
        "seconds": run.watch.seconds,
        "eval/return_mean": float(average.returns.mean()),
        "eval/return_std": float(average.returns.std()),
        "eval/return_online": float(online.returns.mean()),
        "eval/length_mean": float(average.lengths.mean()),
    }


def train(config: TrainConfig) -> Path:
    """Train a policy, or go on training it, and leave everything in the run folder, whose path is returned.

    Raises:
        InputError: before anything is created, if an option cannot be used.
        NonFiniteError: if a NaN turned up; the last good state has then been checkpointed.
        TaskError: if an environment failed; the present state has then been checkpointed, and the traceback is in the
            run folder.
    """
    run_dir = Path(config.run_dir)
    check_train(config, resuming=config.resume is not None)
    with contextlib.ExitStack() as stack:
        point: Point | None = None
        if config.resume is not None:
            stack.enter_context(owned(run_dir))
            point = point_of(config)
            config = dataclasses.replace(config, resume=None)
            run = prepare(config, resuming=True)
            point = restore_run(run, point)
            write_options(run.config)
        else:
            run = prepare(config)
            run_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(owned(run_dir))
            if not is_empty(run_dir):
                raise InputError(f"run_dir={run_dir} was taken by another run meanwhile; give another one")
            create_run_dir(run.config)
            write_environment(run_dir, run.software)
            show_home(run.config)
        for attempt in range(1, config.max_rollbacks + 2):
            try:
                return learn_and_finish(run, point)
            except NonFiniteError as error:
                point = _point_to_go_back_to(run, error, attempt)
                run = prepare(run.config, resuming=True)
                point = restore_run(run, point)
                run.change_streams(attempt)
        raise RuntimeError("the last attempt neither ended nor raised")


def show_home(config: TrainConfig) -> None:
    """Write a robot's model into the run folder, and draw its home pose if pictures are asked for."""
    if config.task.suite != "robot":
        return
    run_dir = Path(config.run_dir)
    (run_dir / "robot.xml").write_text(robot_xml(config.task), encoding="utf-8")
    if not config.video:
        return
    reason = draw_home(config.task, run_dir)
    print(
        f"no picture of the home pose: {reason}" if reason else f"home pose: {run_dir / HOME_PICTURE}",
        flush=True,
    )


def _point_to_go_back_to(run: Run, error: NonFiniteError, attempt: int) -> Point:
    """Return the checkpoint from which a run that diverged goes on; raise the error again if it must not."""
    config = run.config
    if config.on_divergence != "rollback":
        raise error
    if attempt > config.max_rollbacks:
        raise NonFiniteError(
            f"{error}; the run went back {config.max_rollbacks} times (max_rollbacks)"
        ) from error
    try:
        point = newest_point(Path(config.run_dir))
    except InputError as missing:
        raise NonFiniteError(f"{error}; there is no checkpoint to go back to: {missing}") from error
    print(
        f"training diverged: {error}; it goes back to environment step {point.step:,} with other random streams, "
        f"{attempt} of at most {config.max_rollbacks} times",
        flush=True,
    )
    return point


def named(run: Run, error: NonFiniteError) -> NonFiniteError:
    """Keep what is needed to repeat the moment, and return the error with its cause and with where that is."""
    folder = keep_incident(run, error)
    result = NonFiniteError(f"{error}{cause(run)}; acer-runs {typed('replay', folder)} shows it again")
    result.environment = error.environment
    return result


def sizes_of(run: Run) -> Sizes:
    """Return what a run is about to take."""
    config, learner, replay = run.config, run.learner, run.replay
    weights = sum(flat.values.nbytes for flat in (run.learner.flat_actor, run.learner.flat_critic))
    return Sizes(
        config=config,
        spec=run.task.spec,
        step=run.collector.env_steps,
        weights=weights,
        learner=sum(value.nbytes for value in learner.state_dict().values()) + 2 * weights,
        replay=replay.capacity * replay.row_bytes,
    )


def learn_and_finish(run: Run, point: Point | None) -> Path:
    """Train in a folder that is this process's own, from a checkpoint if there is one, and write how it ended."""
    config, run_dir = run.config, Path(run.config.run_dir)
    resumed = None if point is None else (point.step, point.resume["log"])
    write_status(run_dir, "running")
    print(*start_block(sizes_of(run)), sep="\n", flush=True)
    try:
        with RunLogger(run_dir, config.wandb, dataclasses.asdict(config), config.steps, resumed) as log:
            try:
                learn(run, log)
            except Interrupted:
                run.check()  # nothing is half done, so the present state is kept if its numbers are finite
                run.is_whole = True
                raise
            except NonFiniteError as error:
                raise named(run, error) from error
            except TaskError as error:
                keep_incident(run, error)
                with contextlib.suppress(NonFiniteError):
                    run.check()  # the failed step changed nothing in the learner
                raise TaskError(f"{error}; its traceback is in {write_traceback(run_dir, error)}") from error
            finally:
                leave(run, log)
            log.close(hand_over(run_dir, config) if config.hand_over else [])
    except KeyboardInterrupt:
        write_status(run_dir, "interrupted")
        raise
    except Exception:
        write_status(run_dir, "failed")
        raise
    write_status(run_dir, "finished")
    return run_dir
