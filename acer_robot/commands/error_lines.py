"""One clear line for every error that Hydra and OmegaConf find in a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Sequence
from dataclasses import is_dataclass
from typing import Any, cast, get_type_hints

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    KeyValidationError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import MarkedYAMLError

from acer_robot.commands.option_docs import did_you_mean, group_choices, options
from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.shell import typed

SAME_NAME = "is validated against ConfigStore schema with the same name"
"""What Hydra says if a user's file has the name of a config of ours."""


def one_line(error: Exception) -> str:
    """Return what is wrong, what was expected and what to do, without line breaks."""
    if isinstance(error, MissingConfigException) and "/" in (error.missing_cfg_file or ""):
        group, _, name = str(error.missing_cfg_file).partition("/")
        return unknown_choice(group, name, error.options or ())
    if SAME_NAME in str(error):
        config = str(error).partition("'")[2].partition("'")[0]
        return f"{config}.yaml has the name of a task that exists already; give your file another name"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a config file"
        tab = "; YAML takes spaces, no tabs" if "'\\t'" in str(error.problem) else ""
        return f"{where}: {error.problem}{tab}"
    cause = (error.__cause__ or error.__context__) if isinstance(error, HydraException) else error
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _about_option(cause)
    if isinstance(error, OverrideParseException):
        reason = error.message.splitlines()[0]
        if reason.startswith("LexerNoViableAltException"):  # the rest repeats the override
            reason = "a character cannot stand there"
        if "={" in (error.override or ""):
            return (
                f"cannot read {error.override!r}: {reason}; put a name with special characters in double quotes, as "
                f"in 'task.bounds={{\"left:knee\": [-1, 1]}}'"
            )
        return (
            f"cannot read {error.override!r}: {reason}; expected name=value, as in steps=1000 or 'a=[1, 2]'"
            f"{_as_text(error.override)}"
        )
    if found := re.match(r"Ambiguous value for argument '(.*)'$", str(error).partition("\n")[0]):
        return f"{found[1]} has several values; to sweep over them, add --multirun{_as_text(found[1])}"
    # Our own errors are complete. The reason of one of Hydra's errors may stand in its cause.
    complete = isinstance(error, InputError | NonFiniteError | TaskError)
    parts = [str(error)] if complete else [str(error), str(error.__cause__ or "")]
    return " ".join(
        line.strip() for part in dict.fromkeys(parts) for line in part.splitlines() if line.strip()
    )


def check_names(config: DictConfig, schema: type[Any], prefix: str = "") -> None:
    """Raise InputError for a name that `schema` does not have; Hydra lets `+learner.gama=1` add one."""
    hints = get_type_hints(schema)
    for key in map(str, config):
        name = prefix + key
        if key not in hints:
            raise InputError(unknown_option(name, schema))
        if is_dataclass(hints[key]):
            check_names(config[key], cast(type[Any], hints[key]), f"{name}.")


def check_bare(arguments: Sequence[str], schema: type[Any]) -> None:
    """Raise InputError for a path or a task's name without the name of its option."""
    hints = get_type_hints(schema)
    after_flag = False
    for argument in arguments:
        is_flag, is_bare = argument.startswith("-"), "=" not in argument
        if is_bare and not is_flag and not after_flag and (name := _meant_option(argument, hints)):
            raise InputError(f"{argument!r} has no option's name before it; write {typed(name, argument)}")
        after_flag = is_flag and is_bare


def _meant_option(argument: str, names: Container[str]) -> str | None:
    """Return which of a command's options a path or a task's name is meant for; None: it is neither."""
    if argument in names:
        return None
    if "task" in names and argument in group_choices("task"):
        return "task"
    if "/" in argument or os.path.exists(argument):
        return next((name for name in ("run", "folder", "policy") if name in names), None)
    return None


def check_booleans(arguments: Sequence[str], schema: type[Any]) -> None:
    """Raise InputError for a number other than 0 and 1 where true or false is meant: OmegaConf takes 7 as true."""
    for argument in arguments:
        name, _, value = argument.lstrip("+").partition("=")
        is_number = re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", value.strip(), re.IGNORECASE)
        if is_number and value.strip() not in ("0", "1") and _kind(name, schema) is bool:
            raise InputError(f"{name}={value} is neither true nor false; give one of them")


def _kind(name: str, schema: type[Any]) -> object:
    """Return the type of an option, given by its dotted name; None where there is no such option."""
    kind: object = schema
    for part in name.split("."):
        kind = get_type_hints(kind).get(part) if isinstance(kind, type) and is_dataclass(kind) else None
    return kind


def unknown_option(name: str, schema: type[Any]) -> str:
    """Say that `name`, a dotted name whose parent is a `schema`, is no option, and which ones there are."""
    parent = name.rpartition(".")[0]
    known = [option.name for option in options(schema, f"{parent}." if parent else "")]
    groups = [] if parent else sorted({other.partition(".")[0] for other in known if "." in other})
    hint = did_you_mean(name, groups + known) or f"there are {', '.join(known)}"
    return f"{name} is not an option; {hint}"


def unknown_choice(group: str, name: str, known: Sequence[str] = ()) -> str:
    """Say that `group=name` does not exist, and which names do: those of the package and `known`."""
    names = group_choices(group)
    names += [other for other in known if other not in names]
    hint = did_you_mean(name, names)
    return f"{group}={name} does not exist; {hint + ' ' if hint else ''}{group} takes {', '.join(names)}"


def _as_text(override: str | None) -> str:
    """Say how to write an override with plain text, for example a path, as its value."""
    name, _, value = (override or "").partition("=")
    if not value or not re.fullmatch(r"[\w.]+", name) or value[0] in "{'\"":
        return ""
    if value[0] == "[":
        return (
            f"; put a path with special characters in double quotes inside the brackets: '{name}=[\"a, b\"]'"
        )
    return f"; for a path or other text: {typed(name, os.path.expanduser(value))}"


KINDS = {"Integer": "a whole number", "Float": "a number"}


def _wrong_type(name: str, reason: str) -> str | None:
    """Say what an option takes, where OmegaConf names Python's types; None for another reason."""
    if found := re.match(r"Value '(.*)' of type '.*' could not be converted to (Integer|Float)$", reason):
        value, kind = found.groups()
        number = re.fullmatch(r"-?(\d+\.?\d*|\.\d+)(e\+?\d{1,3})?", value)
        whole = kind == "Integer" and number and float(value).is_integer()
        remedy = f"write {name}={int(float(value))}" if whole else f"give {KINDS[kind]}"
        return f"{name}={value} is not {KINDS[kind]}; {remedy}"
    if found := re.match(r"Value '(.*)' is not a valid bool", reason):
        return f"{name}={found[1]} is neither true nor false; give one of them"
    if found := re.match(r"Invalid type assigned: \w+ is not a subclass of (\w+)\. value: (.*)$", reason):
        first = "mode" if name == "wandb" else "NAME"
        return f"{name} is a group of options; set one of them, as in {name}.{first}={found[2]}"
    if re.match(r"Invalid value assigned: .* is not a ListConfig, list or tuple", reason):
        return f"{name} takes a list: write it in brackets, as in '{name}=[..]'"
    if re.match(r"Cannot assign \w+ to Dict\[", reason):
        return f"{name} takes names with values: write them in braces, as in '{name}={{name: value}}'"
    return None


def _about_option(error: OmegaConfBaseException) -> str:
    name, schema = str(error.full_key), error.object_type
    typed = schema if isinstance(schema, type) and is_dataclass(schema) else None
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and typed is not None:
        if name in ("task.learner", "task.task"):
            return (
                f"{name} is not an option: a task's file holds options of the task alone; to set learner.* in it as "
                "well, begin it with the line '# @package _global_' and write its options below task: and learner:"
            )
        return unknown_option(name, typed)
    if isinstance(error, MissingMandatoryValue) and typed is not None:
        parent = name.rpartition(".")[0]
        docs = {option.name: option.doc for option in options(typed, f"{parent}." if parent else "")}
        return f"{name}=... must be given: {' '.join(docs[name].split())}"
    first = (error.msg or str(error)).splitlines()[0]
    if isinstance(error, KeyValidationError):
        return f"{first}; put the name in double quotes, as in 'task.bounds={{\"1\": [-1, 1]}}'"
    if first.endswith("is not Optional"):
        first = "null is not allowed here"
    if first.startswith("Cannot merge DictConfig with ListConfig"):
        if "reference_type=List" in str(error):
            return f"{name} takes a list: write it in brackets, as in '{name}=[..]'"
        return (
            f"{name} takes no list; names with values are written in braces, as in '{name}={{name: value}}'"
        )
    if isinstance(error, ValidationError) and (reason := _wrong_type(name, first)):
        return reason
    return f"{name}: {first}" if isinstance(error, ValidationError) else first
