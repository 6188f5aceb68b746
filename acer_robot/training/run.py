"""One run: collect, replay, evaluate; then leave an exported policy, a video and a report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import torch

from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.experience.collector import RECENT
from acer_robot.experience.episodes import check_episodes_end, deterministic, run_episodes
from acer_robot.experience.seeds import independent_seeds, seed_at
from acer_robot.experience.update_counter import Batches, updates_per_transition
from acer_robot.experience.watchdog import watchdog
from acer_robot.interrupt import Interrupted, deferred_interrupt
from acer_robot.learner.compiler import choose_compiling
from acer_robot.learner.diagnostics import distributions
from acer_robot.learner.learner import Learner
from acer_robot.learner.precision import choose_precision
from acer_robot.reporting.home_picture import FILE as HOME_PICTURE
from acer_robot.reporting.home_picture import draw_home
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.layout import (
    create_run_dir,
    is_empty,
    write_environment,
    write_options,
    write_traceback,
)
from acer_robot.run_folder.owner import owned
from acer_robot.run_folder.status import write_status
from acer_robot.schema import TrainConfig
from acer_robot.shell import typed
from acer_robot.tasks import absolute_files, make_task, make_training_task
from acer_robot.tasks.robot.portrait import robot_xml
from acer_robot.training.announce import Sizes, start_block
from acer_robot.training.collecting import (
    begin_evaluation,
    film,
    make_collector,
    make_replay,
    take_evaluation,
)
from acer_robot.training.feasible import check_joints
from acer_robot.training.finish import hand_over
from acer_robot.training.incidents import cause, keep_incident
from acer_robot.training.initial import take_networks
from acer_robot.training.parts import Run
from acer_robot.training.resume import Point, newest_point, point_of, restore_run
from acer_robot.training.timing import Every
from acer_robot.training.validate import check_train, select_device

CHECK_UPDATES = 1000
"""Updates between two checks that all numbers of the learner are finite, beside those of rows and checkpoints."""


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
    here = config.num_envs if config.collector.kind == "local" else 1  # one tells what the task is like
    task = make_training_task(config.task, here, seeds.environments, config.step_timeout, training_on=device)
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
    replay = make_replay(config, sizes, device, seeds.replay)
    collector, evaluations = make_collector(config, task, learner, replay, device, is_new=not resuming)
    batches = Batches(replay, options, seeds.update_counter)
    due = Every(config.log_every), Every(config.eval_every)
    run = Run(config, device, task, evaluation_task, learner, replay, collector, batches, *due, evaluations)
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
    evaluate_now = evaluate_and_save if run.evaluations is None else begin_evaluation
    check_due = Every(CHECK_UPDATES)
    run.mark_task()
    with watchdog(config.step_timeout), deferred_interrupt() as stop_if_interrupted:
        if run.evaluation_pending:  # the run was stopped in the middle of an evaluation
            evaluate_now(run, log, stop_if_interrupted)
        while run.collector.env_steps < config.steps:
            stop_if_interrupted()
            run.writer.check()
            try:
                run.returns.extend(run.collector.step())
            except TaskError as error:
                log.say(run.count_rebuild(error))
                run.rebuild()
                continue
            collector = run.collector
            run.update()
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
                evaluate_now(run, log, stop_if_interrupted)
            elif run.checkpoint_due:
                run.check()
                run.checkpoint(log.state())
            take_evaluation(run, log)
            log.progress(collector.env_steps, learning=learner.updates > 0)
        while run.evaluations:
            stop_if_interrupted()
            take_evaluation(run, log, seconds=1.0)


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
    film(run, log, run.collector.env_steps)


def leave(run: Run, log: RunLogger) -> None:
    """Write the state of the end, unless it is written already, and close the tasks.

    A run that was left between two steps writes all that it needs to go on. Otherwise its newest such checkpoint stays.
    If there is none, the learner is saved as it was when all of its numbers were last seen to be finite. A run that
    was stopped before a good state with an update leaves no checkpoint: there is nothing to export.
    """
    step, state = run.good
    log.end_progress()
    try:
        run.writer.wait()
        if state["updates"] > 0 or run.collector.env_steps >= run.config.steps:
            if run.is_whole:
                run.checkpoint(log.state())
                run.writer.wait()
            elif run.saved < 0 or not (run.latest_is_whole or run.saved == step):
                run.save("latest", step, state)
            path = Path(run.config.run_dir) / "checkpoints" / "latest.pt"
            print(f"checkpoint of environment step {run.saved:,}: {path}", flush=True)
    finally:
        run.close()


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
    numbers = run.collector.numbers()
    return {
        "rollout/ep_return": mean,
        "rollout/outliers": float(run.collector.outliers.sum()),
        "rollout/unstable_steps": numbers["rollout/unstable_steps"],
        "rollout/rebuilds": float(run.rebuilds),
        "time/seconds": run.watch.seconds,
        "time/sps": run.collector.env_steps / run.watch.seconds,
        "time/updates": run.learner.updates,
        **numbers,
    }


def evaluate(run: Run, between_steps: Callable[[], None] | None = None) -> dict[str, float]:
    """Evaluate the exported policy and, with `eval_online`, the current one.

    Both are deterministic, with frozen statistics, in environments of their own.

    `between_steps` is called before each step of the episodes; it may raise.
    """
    with run.watch.paused():
        task = run.evaluation_task
        task.reseed(seed_at(independent_seeds(run.config.seed).evaluation, run.collector.env_steps))
        average = run_episodes(deterministic(run.learner.exported_policy, task), task, between_steps)
        online = math.nan
        if run.config.eval_online:
            episodes = run_episodes(deterministic(run.learner.policy, task), task, between_steps)
            online = float(episodes.returns.mean())
    return {
        "seconds": run.watch.seconds,
        "eval/return_mean": float(average.returns.mean()),
        "eval/return_std": float(average.returns.std()),
        "eval/return_online": online,
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
            stack.callback(run.close)
            point = restore_run(run, point)
            write_options(run.config)
        else:
            run = prepare(config)
            stack.callback(run.close)
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
                former, run = run, prepare(run.config, resuming=True)
                stack.callback(run.close)
                run.skip_streams_of(former)
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


def keep_learnt(run: Run, error: NonFiniteError | TaskError) -> None:
    """Let the run go on from its present state with new episodes, unless a number of the learner is not finite.

    The step that failed stored nothing. In the learner it changed the statistics of observations alone.
    """
    with contextlib.suppress(NonFiniteError):
        run.check()
        run.lost_episodes, run.is_whole = str(error), True


def sizes_of(run: Run) -> Sizes:
    """Return what a run is about to take."""
    config, learner, replay = run.config, run.learner, run.replay
    trained = [learner.flat_actor, learner.flat_critic]
    if learner.embeddings is not None:
        trained.append(learner.embeddings.flat_learnt)
    weights = sum(flat.values.nbytes for flat in trained)
    return Sizes(
        config=config,
        spec=run.task.spec,
        step=run.collector.env_steps,
        weights=weights,
        learner=sum(value.nbytes for value in learner.state_dict().values())
        + 2 * weights
        + (replay.state_bytes if config.checkpoint.replay else 0),
        replay=replay.capacity * replay.row_bytes,
        memory=replay.memory_bytes,
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
                told = named(run, error)
                if config.on_divergence == "stop" and error.environment is not None:
                    keep_learnt(run, error)
                raise told from error
            except TaskError as error:
                keep_incident(run, error)
                keep_learnt(run, error)
                raise TaskError(f"{error}; its traceback is in {write_traceback(run_dir, error)}") from error
            finally:
                leave(run, log)
            log.close(hand_over(run_dir, config) if config.hand_over else [])
    except KeyboardInterrupt:
        write_status(run_dir, "interrupted")
        raise
    except Exception as error:
        write_status(run_dir, "failed")
        if not isinstance(error, TaskError):  # whose traceback is written already
            with contextlib.suppress(OSError):  # the disk may be full
                write_traceback(run_dir, error)
        raise
    write_status(run_dir, "finished")
    return run_dir
