"""The text of `--help`: every option with its present value and its docstring."""

from __future__ import annotations

import textwrap
from typing import Any

from omegaconf import DictConfig, OmegaConf

from acer_robot.commands.option_docs import group_choices, options
from acer_robot.provenance import package_versions

WIDTH = 100
FIRST = ("task", "steps", "seed", "num_envs", "device", "run_dir", "learner", "wandb.mode")
"""The options that most people set. Help shows them first, in this order."""


def help_text(program: str, summary: str, schema: type[Any], config: DictConfig) -> str:
    """Return the help of a command.

    Args:
        program: its name.
        summary: one sentence on what it does.
        schema: the dataclass of its options.
        config: the composed options of the command line; their values are shown.
    """
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    parts = [f"{program}: {summary}", "", f"usage: {program} [option=value ...]", ""]
    known = {option.name: option for option in options(schema)}
    chosen = {"task"} if "task.suite" in known else set()  # elsewhere task.* only changes a policy's task
    names = [name for name in FIRST if name in known or (name in values and name in {"learner", *chosen})]
    plain = [name for name in known if "." not in name]
    learner = [name for name in known if name.startswith("learner.")]
    heading = ""
    for name in dict.fromkeys([*names, *plain, *["experiment"] * ("learner" in values), *learner, *known]):
        if name not in known:
            parts.append(_wrapped(f"{name}=NAME", f"One of {', '.join(group_choices(name))}."))
            continue
        if name not in names and known[name].section != heading:
            heading = known[name].section
            parts += ["", *([heading] if heading else [])]
        parts.append(_wrapped(f"{name}={_shown(_value(values, name))}", known[name].doc))
    parts += ["", "  Also: --config-dir DIR adds configs of your own; --cfg job prints the composed options."]
    return "\n".join(parts)


def version_text(program: str) -> str:
    """Return what `--version` prints: the versions that decide what a run computes."""
    versions = package_versions()
    return f"{program} {versions['acer-robot']} (torch {versions['torch']}, mujoco {versions['mujoco']})"


def _value(values: Any, name: str) -> object:  # noqa: ANN401 - a tree of dictionaries
    for part in name.split("."):
        values = values[part]
    return values


def _wrapped(head: str, doc: str) -> str:
    indent = " " * 6
    body = textwrap.fill(
        " ".join(doc.split()), WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return f"  {head}\n{body}"


def _shown(value: object) -> str:
    """Return a value as it would be typed."""
    if value == "???":
        return "(must be given)"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
