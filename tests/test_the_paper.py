"""docs/the_paper.md: its snippets run, its links lead somewhere, and the tests that it names exist."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = (DOCS / "the_paper.md").read_text()


def test_every_snippet_gives_what_the_page_shows():
    result = doctest.testfile(str(DOCS / "the_paper.md"), module_relative=False)
    assert result.attempted > 90
    assert result.failed == 0


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#][^)]*)\)", TEXT))))
def test_files_linked_exist(target):
    if not target.startswith("https://"):
        assert (DOCS / target.partition("#")[0]).exists()


def anchor(heading):
    """The anchor that hosts give a heading: lower case, no punctuation, dashes for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_inside_the_page_lead_to_a_heading():
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", TEXT))
    assert links
    assert links <= headings


def test_functions_are_where_the_page_says():
    named = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", TEXT)
    functions = [(name.split(".")[-1], path) for name, path in named if not path.startswith("tests/")]
    assert len(functions) > 12
    for name, path in functions:
        assert re.search(rf"^\s*(def|class) {name}\b", (DOCS.parent / path).read_text(), re.MULTILINE), name


def test_tests_are_where_the_page_says():
    named = re.findall(r"\[`(trap_\d+|three_steps)`\]\(\.\./(tests/[\w/]+\.py)\)", TEXT)
    assert len(named) > 12
    for name, path in named:
        assert re.search(rf"^def test_{name}_", (DOCS.parent / path).read_text(), re.MULTILINE), (name, path)
