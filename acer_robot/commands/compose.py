"""How every command starts: Hydra composes a typed config; bad input ends in one line and exit status 2."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from acer_robot.commands.dm_control_tasks import store_dm_control_tasks
from acer_robot.commands.error_lines import one_line, unknown_option
from acer_robot.commands.help import help_text
from acer_robot.commands.option_docs import options
from acer_robot.errors import InputError

Config = TypeVar("Config")

HELP_FLAGS = ("-h", "--help")
BY_JOINT = ("task.bounds", "task.slew_rate", "fallback")
"""Options whose keys are names of joints."""
PROGRAMS = {"evaluate": "acer-eval"}
"""Commands whose name is not acer- and the name of their config."""


def run_command(name: str, schema: type[Config], body: Callable[[Config], None]) -> None:
    """Compose `configs/{name}.yaml` with the command line's overrides and call `body` with the result.

    `body` receives a plain, fully resolved instance of `schema`. `--help` prints every option instead.

    Raises:
        SystemExit: status 2 after one line on stderr, if the command line or what it names cannot be used.
    """
    try:
        for config in compose(name, schema):
            check_names(config, schema)
            if wants_help():
                print(help_text(PROGRAMS.get(name, f"acer-{name}"), _summary(body), schema, config))
            else:
                body(cast(Config, OmegaConf.to_object(config)))
    except (InputError, HydraException, OmegaConfBaseException) as error:
        print(f"acer-robot: error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def compose(name: str, schema: type[Any]) -> list[DictConfig]:
    """Return the configs that the command line asks for: one, or one for each job of a `--multirun`.

    Raises:
        InputError: if an option is written with dashes.
        HydraException: if the command line cannot be composed.
    """
    check_dashes(sys.argv[1:], schema)
    ConfigStore.instance().store(name=f"{name}_schema", node=open_dictionaries(schema))
    store_dm_control_tasks()
    composed: list[DictConfig] = []

    # Hydra only composes. Run inside it, a command that fails would print Hydra's lines before its own.
    def keep(config: DictConfig) -> None:
        composed.append(config)

    keep.__module__ = "__main__"  # Hydra resolves relative config paths against the function's module
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # else Hydra prints and swallows errors on its own, with exit status 1
    )
    application = hydra.main(version_base="1.3", config_path="pkg://acer_robot.configs", config_name=name)(
        keep
    )
    arguments = sys.argv
    try:
        # Hydra has a help of its own; ours is composed as well, and shows the values of this command line.
        sys.argv = [
            argument for argument in arguments if argument not in HELP_FLAGS and not is_quoted(argument)
        ]
        application()
    finally:
        sys.argv = arguments
    for config in composed:
        add_quoted(config, filter(is_quoted, arguments))
    return composed


def is_quoted(argument: str) -> bool:
    """Whether `argument` gives values by joint name with a name in quotes, which Hydra's grammar does not take."""
    name, _, value = argument.partition("=")
    return name in BY_JOINT and value.startswith("{") and re.search(r"""[{,]\s*["']""", value) is not None


def add_quoted(config: DictConfig, arguments: Iterable[str]) -> None:
    """Put values by joint name with names in quotes into `config`: `task.bounds={"left:knee": [-1, 1]}`.

    Raises:
        InputError: if a value is no dictionary as YAML writes it.
    """
    for argument in arguments:
        name, _, value = argument.partition("=")
        try:
            values = OmegaConf.create(value)
        except (YAMLError, OmegaConfBaseException) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"cannot read {argument!r}: {reason}") from error
        OmegaConf.update(config, name, values, merge=True, force_add=True)


def wants_help() -> bool:
    """Whether the command line asks for help."""
    return any(argument in HELP_FLAGS for argument in sys.argv[1:])


def open_dictionaries(schema: type[Any]) -> DictConfig:
    """Return `schema` as a config whose dictionaries take keys of the user's choice.

    Hydra refuses keys that a config does not have, in dictionaries as well: `task.bounds={knee: [-1, 1]}`.
    """
    node = cast(DictConfig, OmegaConf.structured(schema))
    if "task" in node:
        for dictionary in (node.task.kwargs, node.task.bounds, node.task.slew_rate):
            OmegaConf.set_struct(dictionary, False)
    if "fallback" in node:
        OmegaConf.set_struct(node.fallback, False)
    return node


def check_dashes(arguments: list[str], schema: type[Any]) -> None:
    """Raise InputError for `--steps 1000` or `--steps=1000`, where steps=1000 is meant."""
    names = {option.name for option in options(schema)} | set(get_type_hints(schema))
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("--") and (known := name.replace("-", "_")) in names:
            raise InputError(f"{argument}: options are written without dashes: {known}={value or 'VALUE'}")


def check_names(config: DictConfig, schema: type[Any], prefix: str = "") -> None:
    """Raise InputError for a name that `schema` does not have; Hydra lets `+learner.gama=1` add one."""
    hints = get_type_hints(schema)
    for key in map(str, config):
        name = prefix + key
        if key not in hints:
            raise InputError(unknown_option(name, schema))
        if is_dataclass(hints[key]):
            check_names(config[key], cast(type[Any], hints[key]), f"{name}.")


def _summary(body: Callable[..., None]) -> str:
    """Return what the command does: the first line of its module's docstring, after the name."""
    first = (sys.modules[body.__module__].__doc__ or "").splitlines()[0]
    return first.partition(": ")[2]
