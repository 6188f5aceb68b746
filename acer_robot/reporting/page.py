"""An HTML page from a template: one file with its style inside, that asks no host for anything."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path

import jinja2
from markupsafe import Markup

from acer_robot.errors import InputError
from acer_robot.reporting.charts import NARROW, WIDE, inline
from acer_robot.run_folder.whole_file import write_whole

HERE = Path(__file__).parent
Draw = Callable[[tuple[float, float]], str]
"""From a size in inches to an SVG chart."""


def write_page(template: str, path: Path, **context: object) -> Path:
    """Write the page that templates/`template` makes of `context`.

    Raises:
        InputError: if `path` cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((HERE / "report.css").read_text(encoding="utf-8"))
    write_text(path, environment.get_template(template).render(style=style, **context))
    return path


def check_page(path: Path) -> None:
    """Raise InputError for a name that is no page's: another file of a run would be replaced."""
    if path.resolve().suffix != ".html" and (os.path.isfile(path) or not os.path.exists(path)):
        raise InputError(f"out={path} is no page; give a name that ends in .html, as in out=report.html")


def write_text(path: Path, text: str) -> None:
    """Write a file that the user asked for.

    Raises:
        InputError: if it cannot be written.
        OSError: if the disk is full; the file that was there before is then untouched.
    """
    try:
        if path.exists() and not path.is_file():  # /dev/stdout
            path.write_text(text, encoding="utf-8")
        else:
            write_whole(path.resolve(), text.encode())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; give another file with out=FILE"
        ) from error


def chart(svg: str, prefix: str, label: str) -> Markup:
    """Return a chart as an element of a page; see `inline`."""
    return Markup(inline(svg, prefix, label))


def wide_and_narrow(draw: Draw, prefix: str, label: str) -> Markup:
    """Return a chart drawn twice: report.css shows the wide one, and on a phone the narrow one."""
    pieces = [
        f'<div class="{name}">{inline(draw(size), prefix + name, label)}</div>'
        for name, size in (("wide", WIDE), ("narrow", NARROW))
    ]
    return Markup("".join(pieces))


def rounded(value: float) -> str:
    """Show a return without digits that nobody reads."""
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """Show a time in minutes and seconds, or in hours and minutes; "-" where it is not known."""
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
