"""The rooms of benchmarks/: each imports itself and the rooms above it, and no command; read from the source."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]
ROOMS = ["rows", "reports", "timing", "incidents", "driving"]
"""From top to bottom."""
COMMANDS = {path.stem for path in HERE.glob("*.py")} - {"peers"}
"""peers.py is a command, and the one place that builds Stable-Baselines3's agent."""


def imported(path):
    """Return the first part of the name of every module that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_rooms_above_it(room):
    forbidden = COMMANDS | set(ROOMS[ROOMS.index(room) + 1 :])
    files = list((HERE / room).glob("*.py"))
    assert len(files) > 1
    assert {path.name: found for path in files if (found := imported(path) & forbidden)} == {}


def test_every_folder_of_scripts_is_a_room():
    assert {path.parent.name for path in HERE.glob("*/*.py")} == {*ROOMS, "tests"}
