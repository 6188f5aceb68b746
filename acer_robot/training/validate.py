"""Checks of options before any long work starts: a bad value is named, with what was expected."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from acer_robot.errors import InputError
from acer_robot.reporting.wandb import wandb_mode
from acer_robot.schema import LearnerConfig, TrainConfig, check_choice, check_range

MAX_SEED = 2**31 - 1


def check_train(config: TrainConfig) -> None:
    """Raise InputError for the first option of `acer-train` that cannot be used."""
    for name in ("steps", "num_envs", "threads", "eval_every", "eval_episodes", "log_every"):
        check_range(name, getattr(config, name), 1)
    check_range("seed", config.seed, 0, MAX_SEED)
    wandb_mode(config.wandb)
    _check_ranges(config.learner)
    _check_choices(config.learner)
    run_dir = Path(config.run_dir)
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise InputError(
            f"run_dir={config.run_dir} exists and is not an empty folder; give a new one, or remove it"
        )


def _check_ranges(options: LearnerConfig) -> None:
    """Raise InputError for a number out of its range."""
    for name in (
        "std_init",
        "std_min",
        "std_max",
        "lr",
        "replay_ratio",
        "temperature_init",
        "trace_exponent",
    ):
        value = getattr(options, name)
        if not value > 0.0:
            raise InputError(f"learner.{name}={value!r} is out of range; expected {name} > 0")
    for name in ("gamma", "trace_lambda", "alpha", "target_alpha"):
        check_range(f"learner.{name}", getattr(options, name), 0.0, 1.0)
    for name in (
        "c",
        "delta",
        "sdn_samples",
        "learning_starts",
        "annealing_start",
    ):
        check_range(f"learner.{name}", getattr(options, name), 0.0)
    for name in (
        "critics",
        "annealing_updates",
        "segment_length",
        "segments",
        "advantage_hidden",
        "replay_size",
    ):
        check_range(f"learner.{name}", getattr(options, name), 1)
    for width in options.hidden or [0]:
        check_range("learner.hidden", width, 1)
    if options.deployed_alpha is not None:
        check_range("learner.deployed_alpha", options.deployed_alpha, 0.0, 1.0)
    if options.mean_bound is not None and not options.mean_bound > 0.0:
        raise InputError(
            f"learner.mean_bound={options.mean_bound!r} is out of range; expected a number above 0, or null"
        )


def _check_choices(options: LearnerConfig) -> None:
    """Raise InputError for a word that is none of the choices, or for options that exclude each other."""
    check_choice("learner.estimator", options.estimator, ("acer", "tis", "a3c"))
    if options.estimator != "acer" and options.entropy_target is not None:
        raise InputError(
            f"learner.estimator={options.estimator} has no entropy term; set learner.entropy_target=null"
        )
    check_choice("learner.correction", options.correction, ("score", "pathwise", "none"))
    if options.correction != "none" and math.isinf(options.c):
        raise InputError("learner.c=inf leaves nothing to correct; set learner.correction=none with it")
    check_choice("learner.squash", options.squash, ("tanh", "clip"))
    if options.learned_std and not options.std_min < options.std_init < options.std_max:
        raise InputError(
            f"learner.std_init={options.std_init} must lie between learner.std_min={options.std_min} "
            f"and learner.std_max={options.std_max}"
        )
    if options.std_min_final is not None and not 0.0 < options.std_min_final <= options.std_min:
        raise InputError(
            f"learner.std_min_final={options.std_min_final!r} is out of range; expected a number above 0 and not "
            f"above learner.std_min={options.std_min}, or null"
        )
    if options.entropy_target_final is not None and options.entropy_target is None:
        raise InputError(
            f"learner.entropy_target_final={options.entropy_target_final!r} has nothing to begin from; set "
            "learner.entropy_target to a number, or the final value to null"
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
