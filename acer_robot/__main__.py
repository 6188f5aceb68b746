"""`python -m acer_robot`: lists the shell commands; `python -m acer_robot train task=hopper` runs one."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

from acer_robot.commands.process import command_process

COMMANDS = {
    "train": "train", "eval": "evaluate", "export": "export", "deploy": "deploy", "render": "render", "play": "play",
    "report": "report", "runs": "runs", "doctor": "doctor",
}  # fmt: skip
"""Name of a shell command without `acer-`, and its module in acer_robot.commands."""


def summary(module: str) -> str:
    """Return what a command does: the first line of its module's docstring. The module is not imported."""
    found = importlib.util.find_spec(f"acer_robot.commands.{module}")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].partition(": ")[2]


def listing() -> str:
    """Return a line on each command."""
    lines = [f"  {name:<8}{summary(module)}" for name, module in COMMANDS.items()]
    usage = "usage: python -m acer_robot COMMAND [option=value ...], or acer-COMMAND [option=value ...]"
    return "\n".join([usage, "", *lines, "", "  COMMAND --help explains every option."])


def main() -> None:
    """List the commands, or run one.

    Raises:
        SystemExit: status 2 after one line on stderr, if there is no such command; else as the command.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    name = name.removeprefix("acer-")
    if name in ("-h", "--help", "help"):
        with command_process():
            print(listing())
        return
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(
            f"acer-robot: error: {name} is no command; there are {known}, as in: python -m acer_robot train",
            file=sys.stderr,
        )
        raise SystemExit(2)
    sys.argv = [f"acer-{name}", *arguments]
    importlib.import_module(f"acer_robot.commands.{COMMANDS[name]}").main()


if __name__ == "__main__":
    main()
