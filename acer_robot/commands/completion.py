"""TAB completion of `task=dmc/NAME`: Hydra completes the names of a group, but not those of the groups inside."""

from __future__ import annotations

import os

from acer_robot.commands.option_docs import group_choices

FLAGS = ("-sc", "--shell-completion")


def task_completions(arguments: list[str]) -> list[str] | None:
    """Return what may stand where the cursor is, if a shell asks for the names of tasks; else None.

    The shell asks with `-sc query=bash`, and gives the line in COMP_LINE and the cursor's place in COMP_POINT.
    """
    if not (any(flag in arguments for flag in FLAGS) and any(a.startswith("query=") for a in arguments)):
        return None
    line = os.environ.get("COMP_LINE", "")
    point = os.environ.get("COMP_POINT", "")
    word = line[: int(point) if point.isdigit() else len(line)].rpartition(" ")[2]
    if not word.startswith("task="):
        return None
    return [option for name in group_choices("task") if (option := f"task={name}").startswith(word)]
