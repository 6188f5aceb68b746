"""Checks of options before any long work starts: a bad value is named, with what was expected."""

from __future__ import annotations

import math
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from acer_robot.errors import InputError
from acer_robot.learner.precision import PRECISIONS
from acer_robot.reporting.tensorboard import check_tensorboard
from acer_robot.reporting.wandb_settings import wandb_mode
from acer_robot.run_folder.checkpoints import MOST_KEPT
from acer_robot.run_folder.layout import check_folder, is_empty
from acer_robot.schema import LearnerConfig, TrainConfig, check_choice, check_range
from acer_robot.tasks.make import MAX_ACTION_REPEAT, MAX_ENVIRONMENTS
from acer_robot.training.collecting import check_collector
from acer_robot.training.feasible import check_learns, check_on_policy, check_sizes

MAX_SEED = 2**31 - 1


AVERAGE = 0.999999
"""Highest share that an average keeps of itself in an update; with 1 it would stay the untrained start for ever."""

RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 1e12),
    "num_envs": (1, MAX_ENVIRONMENTS),
    "threads": (1, 1024),
    "eval_every": (1, 1e12),
    "eval_episodes": (1, MAX_ENVIRONMENTS),
    "log_every": (1, 1e12),
    "max_rollbacks": (0, 1000),
    "max_rebuilds": (0, 1e6),
    "step_timeout": (0.1, 1e6),
    "seed": (0, MAX_SEED),
    "task.workers": (0, 1024),
    "task.action_repeat": (1, MAX_ACTION_REPEAT),
    "collector.workers": (1, 10_000),
    "collector.segment_length": (1, 100_000),
    "collector.ahead": (1, 100),
    "collector.max_staleness": (1, 1e12),
    "collector.timeout": (1.0, 1e5),
    "collector.retries": (0, 1000),
    "task.velocity": (-100.0, 100.0),
    "checkpoint.every_minutes": (0.01, 1e6),
    "checkpoint.keep": (0, MOST_KEPT),
    "learner.gamma": (0.0, 1.0),
    "learner.c": (0.0, 1e6),
    "learner.trace_lambda": (0.0, 1.0),
    "learner.trace_exponent": (1e-6, 100.0),
    "learner.delta": (1e-9, 1e9),
    "learner.alpha": (0.0, AVERAGE),
    "learner.deployed_alpha": (0.0, AVERAGE),
    "learner.target_alpha": (0.0, AVERAGE),
    "learner.hidden": (1, 1e9),
    "learner.advantage_hidden": (1, 1e9),
    "learner.std_init": (1e-4, 100.0),
    "learner.std_min": (1e-4, 100.0),
    "learner.std_min_final": (1e-4, 100.0),
    "learner.std_max": (1e-4, 100.0),
    "learner.mean_bound": (0.01, 1000.0),
    "learner.sdn_samples": (0, 1e9),
    "learner.critics": (1, 1e9),
    "learner.pessimism": (-10.0, 10.0),
    "learner.embedding": (0, 1e9),
    "learner.embedding_hidden": (1, 1e9),
    "learner.embedding_lr": (1e-9, 1.0),
    "learner.embedding_refresh": (0, 1e12),
    "learner.temperature_init": (1e-6, 1e4),
    "learner.entropy_target": (-50.0, 0.69),
    "learner.entropy_target_final": (-50.0, 0.69),
    "learner.annealing_start": (0, 1e12),
    "learner.annealing_updates": (1, 1e12),
    "learner.smoothness": (0.0, 1e4),
    "learner.smoothness_noise": (0.0, 10.0),
    "learner.lr": (1e-9, 1.0),
    "learner.segment_length": (1, 1e9),
    "learner.segments": (1, 1e9),
    "learner.policy_every": (1, 1e9),
    "learner.replay_ratio": (1e-6, 1e5),
    "learner.replay_size": (1, 1e12),
    "learner.learning_starts": (0, 1e12),
    "learner.priority_exponent": (0.0, 1.0),
}
"""Option -> lowest and highest value. Beyond them a run breaks, gives NaN, or trains nothing. An entropy above
ln 2 = 0.69 nats per joint cannot be had on [-1, 1]. Sizes have high limits: what they may be depends on the memory."""


def check_train(config: TrainConfig, resuming: bool = False) -> None:
    """Raise InputError for the first option of `acer-train` that cannot be used, or pair that excludes each other.

    A run that goes on has a folder already.
    """
    _check_ranges(config)
    check_texts(config)
    wandb_mode(config.wandb)
    if config.tensorboard:
        check_tensorboard()
    check_choice("on_divergence", config.on_divergence, ("stop", "rollback"))
    check_choice("on_environment_error", config.on_environment_error, ("stop", "rebuild"))
    _check_choices(config.learner)
    check_collector(config)
    check_learns(config)
    if not resuming:  # a run of a former version goes on as it was
        check_on_policy(config.learner, config.num_envs)
    check_sizes(config.learner, select_device(config.device))
    run_dir = Path(config.run_dir)
    check_folder("run_dir", run_dir)
    if not resuming and run_dir.exists() and not is_empty(run_dir):
        raise InputError(
            f"run_dir={config.run_dir} exists and is not an empty folder; give a new one, or remove it"
        )


def check_texts(config: TrainConfig) -> None:
    """Raise InputError for an empty text that names nothing, or a tag that is no text."""
    for name in ("run_dir", "resume", "init_from", "wandb.project"):
        value: Any = reduce(getattr, name.split("."), config)
        if value == "":
            raise InputError(f"{name}='' is empty; give a name, or leave it out")
    for tag in config.wandb.tags:
        if not isinstance(tag, str):
            raise InputError(f"wandb.tags={config.wandb.tags} holds {tag!r}; give words: wandb.tags=[a,b]")


def _check_ranges(config: TrainConfig) -> None:
    """Raise InputError for a number out of its range."""
    for name, (low, high) in RANGES.items():
        value: Any = reduce(getattr, name.split("."), config)
        if value is None or (name == "learner.c" and value == math.inf):
            continue  # null and c=inf switch something off
        for number in value if isinstance(value, list) else [value]:
            check_range(name, number, low, high)
    if not config.learner.hidden:
        raise InputError("learner.hidden=[] has no layer; give the width of one layer at least: [64]")


def _check_choices(options: LearnerConfig) -> None:
    """Raise InputError for a word that is none of the choices, or for options that exclude each other."""
    check_choice("learner.estimator", options.estimator, ("acer", "tis", "a3c"))
    if options.estimator != "acer" and options.entropy_target is not None:
        raise InputError(
            f"learner.estimator={options.estimator} has no entropy term; set learner.entropy_target=null"
        )
    if options.estimator != "acer" and options.embedding != 0:
        raise InputError(
            f"learner.estimator={options.estimator} has no Q that could read learner.embedding="
            f"{options.embedding}; set learner.embedding=0"
        )
    _check_priorities(options)
    if options.estimator == "tis" and options.c == 0.0:
        raise InputError(
            "learner.estimator=tis truncates its ratios at learner.c=0.0, which leaves nothing; set learner.c=5"
        )
    check_choice("learner.correction", options.correction, ("score", "pathwise", "none"))
    if options.estimator == "acer" and options.correction == "none" and options.c == 0.0:
        raise InputError(
            "learner.c=0.0 leaves the correction term alone, and learner.correction=none takes it away, so no policy "
            "is learnt; set learner.correction=pathwise, or learner.c=5"
        )
    if options.correction != "none" and math.isinf(options.c):
        raise InputError("learner.c=inf leaves nothing to correct; set learner.correction=none with it")
    if options.sdn_antithetic and (options.sdn_samples % 2 or options.sdn_samples == 0):
        raise InputError(
            f"learner.sdn_samples={options.sdn_samples} has no pairs; learner.sdn_antithetic=true needs an even number "
            "above 0: set learner.sdn_samples=2, or learner.sdn_antithetic=false"
        )
    check_choice("learner.precision", options.precision, PRECISIONS)
    check_choice("learner.squash", options.squash, ("tanh", "clip"))
    if options.learned_std and not options.std_min < options.std_init < options.std_max:
        raise InputError(
            f"learner.std_init={options.std_init} must lie between learner.std_min={options.std_min} "
            f"and learner.std_max={options.std_max}"
        )
    if options.std_min_final is not None and options.std_min_final > options.std_min:
        raise InputError(
            f"learner.std_min_final={options.std_min_final!r} is out of range; expected a number above 0 and not "
            f"above learner.std_min={options.std_min}, or null"
        )
    if options.entropy_target_final is not None and options.entropy_target is None:
        raise InputError(
            f"learner.entropy_target_final={options.entropy_target_final!r} has nothing to begin from; set "
            "learner.entropy_target to a number, or the final value to null"
        )


def _check_priorities(options: LearnerConfig) -> None:
    """Raise InputError for priorities where no error of a Q makes them, or no replay is drawn from."""
    given = f"learner.priority_exponent={options.priority_exponent}"
    if options.priority_exponent == 0.0:
        return
    if options.estimator != "acer":
        raise InputError(
            f"{given} needs the errors of a Q, and learner.estimator={options.estimator} has none; "
            "set learner.priority_exponent=0"
        )
    if options.on_policy:
        raise InputError(
            f"{given} draws from a replay, and learner.on_policy=true draws none; set learner.priority_exponent=0"
        )


def select_device(name: str) -> torch.device:
    """Return the torch device of that name.

    Raises:
        InputError: if the name is unknown or the device is not there; never falls back to another one.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device={name!r} is not known; use cpu, cuda or cuda:N") from error
    check_choice("device", device.type, ("cpu", "cuda"))
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(
                f"device={name!r} was asked for, but torch sees {count} CUDA device(s); use device=cpu"
            )
    return device
