"""Every relative link of every page of the repository leads somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")


def pages():
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:  # an unpacked sdist
        return sorted(
            str(p.relative_to(ROOT))
            for folder in ("docs", "benchmarks")
            for p in (ROOT / folder).rglob("*.md")
        )
    return [page for page in listed if (ROOT / page).exists()]


def without_code(text):
    return re.sub(
        r"`[^`\n]*`\]", "`code`]", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    )


def anchors(page):
    """The anchors that hosts give headings: lower case, no punctuation, dashes for blanks."""
    headings = re.findall(r"^#+ +(.*?) *#*$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name):
    page, dead = ROOT / name, []
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_a_dead_link_is_seen():
    assert LINK.findall('[a](x.md#y) ![b](pic.png "title") [c](<d.md>)') == ["x.md#y", "pic.png", "d.md"]
    assert "questions-and-answers" not in anchors(ROOT / "README.md")
    assert "results" in anchors(ROOT / "README.md")
