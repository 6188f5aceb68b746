"""How a value is written on the command line, so that a printed hint can be pasted into a shell."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path


def typed(name: str, value: str | Path) -> str:
    """Return name=value as it is typed: quoted for Hydra's grammar and for the shell where either needs it."""
    text = str(value)
    if re.fullmatch(r"[\w./:+%-]+", text, re.ASCII):
        return f"{name}={text}"
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', '\\"'), text)
    return shlex.quote(f'{name}="{escaped}"')


NO_NAMES = ("null", "true", "false", "nan", "inf")
"""Words that the command line does not read as a name."""


def option_key(name: str) -> str:
    """Return a joint's name as a dictionary key for the command line, in double quotes if it needs them.

    >>> print(option_key("left_knee"), option_key("left:knee"), option_key("1"))
    left_knee "left:knee" "1"
    """
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", name) and name.lower() not in NO_NAMES
    return name if plain else json.dumps(name, ensure_ascii=False)
