"""What of a run's options and files may leave the machine: everything but where they lie."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEXTS = (".html", ".json", ".txt", ".md", ".yaml", ".csv")
"""Endings of files in which paths are looked for."""


def public_options(value: Any) -> Any:  # noqa: ANN401 (any nesting of options)
    """Return options in which each absolute path, and `run_dir`, is its last part alone.

    >>> public_options({"run_dir": "../mine/run1", "kwargs": {"xml_file": "/home/me/robot.xml"}, "lr": 0.5})
    {'run_dir': 'run1', 'kwargs': {'xml_file': 'robot.xml'}, 'lr': 0.5}
    """
    if isinstance(value, Mapping):
        return {
            name: Path(item).name if name == "run_dir" and isinstance(item, str) else public_options(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [public_options(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def public_copy(file: Path, run_dir: Path, folder: Path) -> Path:
    """Copy `file`, which lies below `run_dir`, to the same place below `folder`, and return the copy.

    In a text the paths that lead to the run folder, with the user's name in them, are left out.
    """
    copy = folder / file.absolute().relative_to(run_dir.absolute())
    copy.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix not in TEXTS:
        shutil.copyfile(file, copy)
        return copy
    text = file.read_text(encoding="utf-8")
    for path in {str(run_dir.absolute().parent), str(run_dir.resolve().parent), str(run_dir.parent)} - {
        ".",
        "/",
    }:
        text = _replaced(text, f"{path}/", "")
    home = str(Path.home())
    copy.write_text(text if home == "/" else _replaced(text, home, "~"), encoding="utf-8")
    return copy


def _replaced(text: str, path: str, by: str) -> str:
    """Replace a path where one can begin: not within another path, nor in the data of a picture or a film.

    >>> _replaced("run_dir: runs/a, data:runs/x;base64,AA+runs/b", "runs/", "")
    'run_dir: a, data:runs/x;base64,AA+runs/b'
    """
    return re.sub(rf"(?<![\w/+.-])(?<!data:)(?<!base64,){re.escape(path)}", by, text)
