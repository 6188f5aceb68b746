"""How every command starts: Hydra composes a typed config; bad input ends in one line and exit status 2."""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from acer_robot.commands.completion import task_completions
from acer_robot.commands.dm_control_tasks import store_dm_control_tasks
from acer_robot.commands.error_lines import check_bare, check_booleans, check_names, one_line
from acer_robot.commands.help import help_text, version_text
from acer_robot.commands.launchers import check_sweep_options, register_resolvers, sweep_folder
from acer_robot.commands.option_docs import options
from acer_robot.commands.process import command_process
from acer_robot.commands.sweep import run_job, task_overrides
from acer_robot.errors import InputError, NonFiniteError, TaskError

Config = TypeVar("Config")

HELP_FLAGS = ("-h", "--help")
HYDRA_FLAGS = (
    *HELP_FLAGS, "--version", "--hydra-help", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r",
    "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--experimental-rerun", "--info", "-i",
)  # fmt: skip
"""Flags that Hydra takes; of any other it prints ten lines of usage."""
BY_JOINT = (
    "task.bounds",
    "task.slew_rate",
    "task.actuators",
    "task.home",
    "task.randomize",
    "task.noise",
    "fallback",
    "rest",
)
"""Options whose keys are names of joints or of other parts of a robot."""
OPEN_DICTIONARIES = (
    "kwargs",
    "bounds",
    "slew_rate",
    "actuators",
    "home",
    "reward",
    "randomize",
    "noise",
    "push",
)
"""Dictionaries of a task's options whose keys are of the user's choice."""
PROGRAMS = {"evaluate": "acer-eval"}
"""Commands that are not named `acer-` and the name of their config."""


def run_command(name: str, schema: type[Config], body: Callable[[Config], float | None]) -> None:
    """Compose `configs/{name}.yaml` with the command line's overrides and call `body` with the result.

    `body` receives a plain, fully resolved instance of `schema`. A sweep calls it once for each job, inside
    Hydra's job; Hydra's sweeper maximises or minimises what it returns. `--help` prints every option instead.

    Raises:
        SystemExit: after one line on stderr. Status 2: the command line or what it names cannot be used; 1: a number
            was not finite, an environment failed, jobs of a sweep failed, or the disk is full; 130: Ctrl-C.
    """
    program = PROGRAMS.get(name, f"acer-{name}")
    try:
        with command_process():
            if "--version" in sys.argv[1:]:
                print(version_text(program))
                return
            if (tasks := task_completions(sys.argv[1:])) is not None and has_tasks(schema):
                print(*tasks, sep="\n")
                return
            for config in compose(name, schema, body):
                check_names(config, schema)
                check_empty(config, given_names())
                if wants_help():
                    print(help_text(program, _summary(body), schema, config))
                else:
                    body(cast(Config, OmegaConf.to_object(config)))
    except (InputError, HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
        print(f"acer-robot: error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except (NonFiniteError, TaskError) as error:
        print(f"acer-robot: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def compose(name: str, schema: type[Any], body: Callable[[Any], float | None]) -> list[DictConfig]:
    """Return the one config that the command line asks for, or none after all jobs of a `--multirun`.

    Raises:
        InputError: if an option is written with dashes.
        HydraException: if the command line cannot be composed.
        SystemExit: if a sweep is refused, or a job of it failed.
    """
    check_dashes(sys.argv[1:], schema)
    check_config_name(sys.argv[1:])
    check_bare(sys.argv[1:], schema)
    check_booleans(sys.argv[1:], schema)
    ConfigStore.instance().store(name=f"{name}_schema", node=open_dictionaries(schema))
    store_dm_control_tasks()
    composed: list[DictConfig] = []

    # Hydra only composes a single run. If a command failed inside Hydra's job, Hydra's lines would come before its own.
    def job(config: DictConfig) -> float | None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return run_job(config, schema, body)
        composed.append(config)
        return None

    if any(flag in sys.argv for flag in ("-m", "--multirun")) and any(map(is_quoted, sys.argv)):
        raise InputError(
            "a sweep takes no names in quotes; put them into a task's file, and sweep over task=FILE"
        )
    is_sweep = any(flag in sys.argv for flag in ("-m", "--multirun"))
    check_sweep_options(sys.argv[1:], is_sweep)
    register_resolvers()
    job.__module__ = "__main__"  # Hydra resolves relative config paths against the function's module
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # else Hydra prints and swallows errors on its own, with exit status 1
    )
    application = hydra.main(version_base="1.3", config_path="pkg://acer_robot.configs", config_name=name)(
        job
    )
    arguments = sys.argv
    try:
        # Hydra would print its own help. We compose the config for our help too, which shows its values.
        sys.argv = without_sweep(arguments) if wants_help() else arguments
        sys.argv = [argument for argument in sys.argv if not is_quoted(argument)] + sweep_folder(sys.argv)
        application()
    finally:
        sys.argv = arguments
    for config in composed:
        add_quoted(config, filter(is_quoted, arguments))
    return composed


def given_names() -> list[str]:
    """Return the names of the options that were typed: ["steps", "learner.lr", "task"]."""
    hydra = cast(DictConfig, HydraConfig.get()) if HydraConfig.initialized() else None
    in_sweep = hydra is not None and hydra.mode == RunMode.MULTIRUN
    arguments = task_overrides(hydra) if hydra is not None and in_sweep else sys.argv[1:]
    typed = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    return [argument.partition("=")[0].lstrip("+~").partition("@")[0] for argument in typed]


def check_empty(config: DictConfig, names: Iterable[str]) -> None:
    """Raise InputError for an empty text that was typed. For options of wandb an empty text means none."""
    for name in names:
        if not name.startswith("wandb.") and OmegaConf.select(config, name, throw_on_missing=False) == "":
            raise InputError(f"{name}='' is empty; give a value, or leave it out")


def is_quoted(argument: str) -> bool:
    """Whether `argument` has a joint's name in quotes. Hydra's grammar does not accept that."""
    name, _, value = argument.partition("=")
    return name in BY_JOINT and value.startswith("{") and re.search(r"""[{,]\s*["']""", value) is not None


def add_quoted(config: DictConfig, arguments: Iterable[str]) -> None:
    """Put the values of arguments with quoted names into `config`: `task.bounds={"left:knee": [-1, 1]}`.

    Raises:
        InputError: if a value is not a dictionary in YAML.
    """
    for argument in arguments:
        name, _, value = argument.partition("=")
        try:
            values = OmegaConf.create(value)
        except (YAMLError, OmegaConfBaseException) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"cannot read {argument!r}: {reason}") from error
        OmegaConf.update(config, name, values, merge=True, force_add=True)


def without_sweep(arguments: list[str]) -> list[str]:
    """Return the command line of a single run: without the flags and values of a sweep, and without the help flag."""
    flags = (*HELP_FLAGS, "-m", "--multirun")
    parser = OverridesParser.create()
    kept = []
    for argument in arguments:
        is_override = "=" in argument and not argument.startswith("-")
        if argument not in flags and not (
            is_override and parser.parse_override(argument).is_sweep_override()
        ):
            kept.append(argument)
    return kept


def has_tasks(schema: type[Any]) -> bool:
    """Whether `schema` has an option `task`, whose names can be completed."""
    return "task" in get_type_hints(schema)


def wants_help() -> bool:
    """Whether the command line asks for help."""
    return any(argument in HELP_FLAGS for argument in sys.argv[1:])


def open_dictionaries(schema: type[Any]) -> DictConfig:
    """Return `schema` as a config whose dictionaries take keys of the user's choice.

    Hydra refuses keys that a config does not have, in dictionaries as well: `task.bounds={knee: [-1, 1]}`.
    """
    node = cast(DictConfig, OmegaConf.structured(schema))
    if "task" in node:
        for name in OPEN_DICTIONARIES:
            if name in node.task:
                OmegaConf.set_struct(node.task[name], False)
    for name in ("fallback", "rest"):
        if name in node:
            OmegaConf.set_struct(node[name], False)
    return node


def check_dashes(arguments: list[str], schema: type[Any]) -> None:
    """Raise InputError for `--steps 1000` or `--steps=1000`, where steps=1000 is meant."""
    names = {option.name for option in options(schema)} | set(get_type_hints(schema))
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("--") and (known := name.replace("-", "_")) in names:
            raise InputError(f"{argument}: options are written without dashes: {known}={value or 'VALUE'}")
        if argument.startswith("-") and argument.partition("=")[0] not in HYDRA_FLAGS:
            raise InputError(
                f"{argument} is not an option; options are written name=value, and --help lists them"
            )


def check_config_name(arguments: list[str]) -> None:
    """Raise InputError for a flag that gives Hydra another main config, which has no types and no sweep of ours."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag in ("--config-name", "-cn", "--config-path", "-cp"):
            raise InputError(
                f"{flag} cannot be used: options of your own go into a file DIR/experiment/NAME.yaml, for --config-dir "
                "DIR experiment=NAME; acer-train resume=RUN goes on with the options of a run"
            )


def _summary(body: Callable[..., float | None]) -> str:
    """Return what the command does: the first line of its module's docstring, without the command's name."""
    # Read from the source: python -OO strips docstrings.
    source = inspect.getsource(sys.modules[body.__module__])
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return first.partition(": ")[2]
