"""Each row of `mutation_table.py` fits today's code: its text is there once, and its test exists. Runs no mutation."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROWS = [
    (file, *row)
    for file, table in runpy.run_path(str(TESTS / "mutation_table.py"))["MUTATIONS"].items()
    for row in table
]


def in_checkout(file: str) -> Path:
    """tasks/ and policies/ are sub-packages in the wheel, and top-level folders of the checkout."""
    package, folder, *rest = Path(file).parts
    return TESTS.parent.joinpath(*([folder] if folder in ("tasks", "policies") else [package, folder]), *rest)


def names_of_tests(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    return [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]


@pytest.mark.parametrize(("file", "trap", "old", "new", "test"), ROWS, ids=[row[1] for row in ROWS])
def test_the_text_to_change_is_there_once_and_a_test_guards_it(file, trap, old, new, test):
    text = in_checkout(file).read_text()
    assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
    ast.parse(text.replace(old, new))  # a mutation that is no Python would turn any test red
    assert text != text.replace(old, new)
    path, *selection = test.split()
    word = selection[1] if selection else "test_"
    assert selection[:-1] in ([], ["-k"])
    assert any(word in name for name in names_of_tests(TESTS / path)), f"no test of {path} matches -k {word}"


def test_no_two_mutations_share_a_name_and_a_test():
    assert len({(row[1], row[-1]) for row in ROWS}) == len(ROWS)
