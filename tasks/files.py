"""Absolute paths for files in a task's options, so that a run finds them from every folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from acer_robot.schema import TaskConfig

HERE = ("./", "../", "~/")
"""Prefixes of paths relative to the current folder or to home. Gymnasium's own tasks read them so, too."""


def absolute_files(config: TaskConfig) -> TaskConfig:
    """Return the options with absolute paths for `task.model` and the files that `task.kwargs` names.

    A plain name under `xml_file` stays: Gymnasium looks for it among its own models.
    """
    kwargs = {name: _absolute(name, value) for name, value in config.kwargs.items()}
    return dataclasses.replace(config, kwargs=kwargs, model=_absolute("model", config.model))


def _absolute(name: str, value: Any) -> Any:  # noqa: ANN401 - any keyword argument
    if not isinstance(value, str) or not (
        value.startswith(HERE) or (Path(value).suffix and name != "xml_file")
    ):
        return value
    path = Path(value).expanduser()
    return str(path.resolve()) if path.is_file() else value
