"""How a value is written on the command line, so that a printed hint can be pasted into a shell."""

from __future__ import annotations

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
