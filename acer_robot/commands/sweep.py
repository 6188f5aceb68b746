"""Sweeps (`-m`): all jobs are checked before the first starts, all run, and those that failed are listed.

Hydra's sweeper chooses the jobs. Hydra's launcher runs them, maybe in other processes, so a failed job leaves a line in
a file of the sweep's folder. It returns NaN, because Hydra's own sweeper stops at an exception. Other sweepers get the
exception: their own options say how many failures they tolerate.
"""

from __future__ import annotations

import contextlib
import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.utils import get_class, get_method
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from acer_robot.commands.error_lines import check_names, one_line
from acer_robot.commands.launchers import prepare_launcher
from acer_robot.commands.sweep_job import JobFailed, job_folder, sweep_table
from acer_robot.errors import InputError, NonFiniteError, TaskError

FAILED = "failed_jobs.txt"
"""File in the sweep's folder with one line for each failed job."""
REFUSALS = (InputError, HydraException, OmegaConfBaseException, MarkedYAMLError)
"""What is raised for input that cannot be used."""


class Sweep(Callback):
    """What Hydra calls before the first job of a sweep and after the last; configs/*.yaml name it.

    A SystemExit ends the sweep: Hydra turns any other exception of a callback into a warning.
    """

    def __init__(self, schema: str, validate: str | None = None, separate: str | None = None) -> None:
        """Take what to check.

        Args:
            schema: dotted name of the dataclass of the command's options.
            validate: dotted name of a function that raises InputError for options that cannot be used.
            separate: name of the option whose path must differ from job to job.
        """
        self.schema, self.validate, self.separate = schema, validate, separate

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Check every job, before anything is created on disk.

        Raises:
            SystemExit: status 2 after one line on stderr, if a job cannot be run.
        """
        try:
            # Other sweepers choose a job by the results of earlier ones, so each job is checked when it starts.
            if is_basic(config.hydra):
                self.check(config)
        except REFUSALS as error:
            print(f"acer-robot: error: {one_line(error)}", file=sys.stderr)
            raise SystemExit(2) from None
        except Exception:  # noqa: BLE001 - Hydra would turn a bug into a warning and start the jobs
            traceback.print_exc()
            raise SystemExit(1) from None
        prepare_launcher(config)
        (Path(config.hydra.sweep.dir) / FAILED).unlink(missing_ok=True)

    def check(self, config: DictConfig) -> None:
        """Raise InputError for the first job that cannot be run."""
        schema = get_class(self.schema)
        validate = get_method(self.validate) if self.validate else None
        if self.separate:
            # This read fixes the value of ${now:..}. Jobs copy it, so they get the time that is checked here.
            with contextlib.suppress(OmegaConfBaseException):  # a value that only jobs have
                OmegaConf.select(config, self.separate)
        jobs = sweep_jobs(config)
        places: dict[Path, int] = {}
        for number, overrides in enumerate(jobs):
            try:
                job = compose_job(config, number, overrides)
                check_names(job, schema)
                options = OmegaConf.to_object(job)
                if validate:
                    validate(options)
            except REFUSALS as error:
                raise InputError(f"{described(number, overrides)}: {one_line(error)}") from error
            if self.separate:
                sweep_dir = getattr(options, "sweep_dir", None)
                place = job_folder(sweep_dir, overrides) if sweep_dir else getattr(options, self.separate)
                first = places.setdefault(Path(place).absolute(), number)
                if first != number:
                    raise InputError(
                        f"jobs {first} and {number} have the same {self.separate}={place}; put what differs "
                        f"into it, as in '{self.separate}={_example(jobs[first], overrides)}'"
                    )

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """List the runs of a sweep_dir, and the jobs that failed.

        Raises:
            SystemExit: status 1, if there are any.
        """
        failed = Path(config.hydra.sweep.dir) / FAILED
        if config.get("sweep_dir"):
            print(sweep_table(Path(config.sweep_dir)), flush=True)
        if failed.exists():
            lines = failed.read_text(encoding="utf-8").splitlines()
            noun = "job" if len(lines) == 1 else "jobs"
            print(f"acer-robot: error: {len(lines)} {noun} failed:", *lines, sep="\n  ", file=sys.stderr)
            raise SystemExit(1)


def sweep_jobs(config: DictConfig) -> list[list[str]]:
    """Return the overrides of each job of Hydra's own sweeper."""
    loader = GlobalHydra.instance().config_loader()
    shared = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides(shared + task_overrides(config.hydra))
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


def compose_job(config: DictConfig, number: int, overrides: list[str]) -> DictConfig:
    """Return the options of one job, which may refer to its number as ${hydra:job.num}."""
    job = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    HydraConfig.instance().set_config(job)
    options = job.copy()
    with open_dict(options):
        del options["hydra"]
    return options


def run_job(config: DictConfig, schema: type[Any], body: Callable[[Any], float | None]) -> float | None:
    """Run one job inside Hydra's job. Return what `body` returns; record a failure and return NaN.

    Raises:
        Exception: the failure, where the sweeper is not Hydra's own.
    """
    hydra = cast(DictConfig, HydraConfig.get())
    failure: Exception
    name = described(hydra.job.num, task_overrides(hydra))
    print(name, file=sys.stderr, flush=True)
    try:
        check_names(config, schema)
        return body(OmegaConf.to_object(config))
    except (*REFUSALS, NonFiniteError, TaskError, JobFailed) as error:
        failure, reason = error, one_line(error)
        print(f"acer-robot: error: {reason}", file=sys.stderr, flush=True)
    except Exception as error:  # noqa: BLE001 - a bug in one job must not end the others
        failure, reason = error, " ".join(f"{type(error).__name__}: {error}".split())
        traceback.print_exc()
    with (Path(hydra.sweep.dir) / FAILED).open("a", encoding="utf-8") as file:
        file.write(f"{name}: {reason}\n")
    if not is_basic(hydra):
        raise failure
    return math.nan


def task_overrides(hydra: DictConfig) -> list[str]:
    """Return the command line's overrides as they were typed."""
    return cast(list[str], OmegaConf.to_container(hydra.overrides.task, resolve=False))


def is_basic(hydra: DictConfig) -> bool:
    """Whether Hydra's own sweeper chooses the jobs: every combination of the values."""
    return str(hydra.sweeper._target_).endswith(".BasicSweeper")


def described(number: int, overrides: list[str]) -> str:
    """Return what a job is called in messages."""
    return f"job {number} ({' '.join(overrides)})"


def _example(one: list[str], other: list[str]) -> str:
    """Return a path that contains the options in which two jobs differ."""
    names = [a.partition("=")[0] for a, b in zip(one, other, strict=True) if a != b]
    plain = [name for name in names if name not in ("task", "learner", "experiment")]
    return "runs/" + ("_".join(f"${{{name}}}" for name in plain) or "${hydra:job.num}")
