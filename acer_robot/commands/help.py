"""The text of `--help`: every option with its present value and its docstring."""

from __future__ import annotations

import textwrap
from typing import Any

from omegaconf import DictConfig, OmegaConf

from acer_robot.commands.option_docs import group_choices, options

WIDTH = 100


def help_text(program: str, summary: str, schema: type[Any], config: DictConfig) -> str:
    """Return the help of a command.

    Args:
        program: its name.
        summary: one sentence on what it does.
        schema: the dataclass of its options.
        config: what the command line has composed so far; its values are shown.
    """
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    parts = [f"{program}: {summary}", "", f"usage: {program} [option=value ...]", ""]
    groups = [group for group in ("task", "learner") if group in values]
    for group in groups + ["experiment"] * ("learner" in groups):
        parts += [_wrapped(f"{group}=NAME", f"One of {', '.join(group_choices(group))}.")]
    for option in options(schema):
        value: Any = values
        for part in option.name.split("."):
            value = value[part]
        parts.append(_wrapped(f"{option.name}={_shown(value)}", option.doc))
    parts += ["", "  Also: --config-dir DIR adds configs of your own; --cfg job prints the composed options."]
    return "\n".join(parts)


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
