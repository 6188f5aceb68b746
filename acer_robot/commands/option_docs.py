"""What the command line can know about options: their names, docstrings, close matches and config groups."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

import acer_robot.configs
from acer_robot.commands import dm_control_tasks


@dataclass(frozen=True)
class Option:
    """One option of a command."""

    name: str
    """Dotted name, as it is typed: "learner.gamma"."""
    doc: str
    """The docstring under its field."""
    section: str = ""
    """The comment above its part of the schema; "" where there is none."""


def options(schema: type[Any], prefix: str = "") -> list[Option]:
    """Return every option below `schema`, nested groups after the plain options."""
    plain, nested = [], []
    docs, headings = field_docs(schema), field_sections(schema)
    for name, kind in get_type_hints(schema).items():
        if is_dataclass(kind):
            nested += options(cast(type[Any], kind), f"{prefix}{name}.")
        else:
            plain.append(Option(prefix + name, docs[name], headings[name]))
    return plain + nested


def field_docs(schema: type[Any]) -> dict[str, str]:
    """Return the docstring under each field of a dataclass; "" where there is none."""
    (definition,) = ast.parse(inspect.getsource(schema)).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            docs[statement.target.id] = _string(following)
    return docs


def field_sections(schema: type[Any]) -> dict[str, str]:
    """Return the last comment line above each field of a dataclass; "" where there is none."""
    section, sections = "", {}
    for line in inspect.getsource(schema).splitlines():
        if line.startswith("    # "):
            section = line.removeprefix("    # ")
        elif field := re.match(r"    (\w+):", line):
            sections[field[1]] = section
    return sections


def _string(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return ""


def group_choices(group: str) -> list[str]:
    """Return the names that `group=NAME` takes: those of the package's own configs."""
    folder = Path(acer_robot.configs.__file__).parent / group
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")]
    if group == "task":
        names += [f"dmc/{name}" for name in dm_control_tasks.NAMES]
    return sorted(names, key=lambda name: (name.count("/"), name))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" with names of `known` close to `name`, or "". It compares the last parts only."""
    by_last: dict[str, list[str]] = {}
    for other in known:
        by_last.setdefault(_last(other), []).append(other)
    close = difflib.get_close_matches(_last(name), by_last, n=3, cutoff=0.65)
    found = [other for last in close for other in by_last[last]]
    return f"did you mean {' or '.join(found)}?" if found else ""


def _last(name: str) -> str:
    """Return the part after the last dot or slash, in lower case."""
    return re.split("[./]", name.lower())[-1]
