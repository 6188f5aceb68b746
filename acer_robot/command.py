"""How every command starts: Hydra composes a typed config, and bad input ends in one line and exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from acer_robot.errors import InputError

Config = TypeVar("Config")


def run_command(name: str, schema: type[Config], body: Callable[[Config], None]) -> None:
    """Compose `configs/{name}.yaml` against `schema` with the command line's overrides and call `body` with the result.

    The config that `body` receives is a plain, fully resolved instance of `schema`.

    Raises:
        SystemExit: status 2 after one line on stderr, if the command line or the input it names cannot be used.
    """
    ConfigStore.instance().store(name=f"{name}_schema", node=open_dictionaries(schema))

    def compose(config: DictConfig) -> None:
        body(cast(Config, OmegaConf.to_object(config)))

    compose.__module__ = "__main__"  # Hydra resolves relative config paths against the function's module
    # Hydra prints and swallows errors on its own, with exit status 1, unless this is set.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    application = hydra.main(version_base="1.3", config_path="pkg://acer_robot.configs", config_name=name)(compose)
    try:
        application()
    except (InputError, HydraException, OmegaConfBaseException) as error:
        print(f"acer-robot: error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def open_dictionaries(schema: type[Any]) -> DictConfig:
    """Return `schema` as a config whose `task.kwargs` and `task.bounds` take keys of the user's choice.

    Hydra refuses keys that a config does not have, in dictionaries as well: `task.bounds={knee: [-1, 1]}`.
    """
    node = cast(DictConfig, OmegaConf.structured(schema))
    if "task" in node:
        OmegaConf.set_struct(node.task.kwargs, False)
        OmegaConf.set_struct(node.task.bounds, False)
    return node


def one_line(error: Exception) -> str:
    """Return the message of `error` and of the cause Hydra wrapped, without line breaks."""
    parts = [str(error)]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line.strip() for part in parts for line in part.splitlines()]
    return " ".join(line for line in lines if line)
