"""What a film says of its episode: numbers at the top, and each joint's command between its bounds below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from acer_robot.spec import ActionBounds, to_canonical

Picture = npt.NDArray[np.uint8]

AT_BOUND = 0.98
"""Share of a joint's half range from which its command counts as at the bound."""
WHITE, GREY, BLUE, RED = (255, 255, 255), (150, 150, 150), (90, 170, 255), (255, 90, 80)
SHADE = 0.4
"""Brightness of the picture behind text."""
LEADING = 1.4
"""Distance of lines in heights of a letter."""
PANEL = 0.4
"""Share of the picture's width that commands take."""
SMALLEST = 8
"""Height of the smallest letters in pixels; below it names are left out."""


@dataclass(frozen=True)
class Moment:
    """What is known of an episode when a picture is drawn."""

    total: float
    """Sum of rewards so far."""
    seconds: float
    """Simulated seconds since the start of the episode."""
    speed: float | None
    """Horizontal speed of the robot's centre of mass in m/s; None: the robot is fixed."""
    command: npt.NDArray[np.float64]
    """[m] actuator units."""


def with_overlay(picture: Picture, bounds: ActionBounds, moment: Moment, name: str = "") -> Picture:
    """Return a picture [H, W, 3] with return, time, speed, and every joint's command between its bounds.

    A command at a bound is red. Names of joints are left out where there is no room for them.
    """
    speed = "" if moment.speed is None else f"   {moment.speed:.1f} m/s"
    lines = [name] if name else []
    lines.append(f"return {moment.total:.1f}   {moment.seconds:.2f} s{speed}")
    return _with_commands(
        with_lines(picture, lines), bounds, moment.command, _line_height(picture, len(lines))
    )


def with_lines(picture: Picture, lines: Sequence[str]) -> Picture:
    """Return a picture [H, W, 3] with lines of text at its upper edge."""
    size = _text_size(picture)
    font, step = ImageFont.load_default(size), round(LEADING * size)
    image = Image.fromarray(_shaded(picture, 0, _line_height(picture, len(lines)), picture.shape[1]))
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        _text_within(draw, (step // 2, step // 4 + i * step), line, font, picture.shape[1] - step)
    return np.asarray(image)


def _text_size(picture: Picture) -> int:
    return int(np.clip(min(picture.shape[:2]) // 30, 9, 28))


def _line_height(picture: Picture, lines: int) -> int:
    """Return how many rows of pixels so many lines of text take."""
    step = round(LEADING * _text_size(picture))
    return lines * step + step // 2


def _with_commands(
    picture: Picture, bounds: ActionBounds, command: npt.NDArray[np.float64], top: int
) -> Picture:
    """Draw a bar for every joint below row `top` at the left, where a robot in the middle stays visible."""
    height, width = picture.shape[:2]
    step = max(2, min(round(LEADING * _text_size(picture)), int(0.6 * height - top) // bounds.size))
    size = step - 2
    right = int(width * PANEL)
    image = Image.fromarray(_shaded(picture, top, top + bounds.size * step + 2, right + 4))
    draw = ImageDraw.Draw(image)
    left, font = 4, None
    if size >= SMALLEST:
        left, font = int(right * 0.4), ImageFont.load_default(min(size, _text_size(picture)))
    share = np.clip(to_canonical(command, np.asarray(bounds.low), np.asarray(bounds.high)), -1.0, 1.0)
    middle, half = (left + right) / 2, (right - left) / 2
    for joint, name in enumerate(_short(bounds.names)):
        y, end = top + joint * step, middle + half * float(share[joint])
        if font is not None:
            _text_within(draw, (4, y), name, font, left - 8)
        colour = RED if abs(share[joint]) >= AT_BOUND else BLUE
        below = y + max(1, step - 4)
        draw.rectangle((left, y, right, below), outline=GREY)
        draw.rectangle((min(middle, end), y, max(middle, end), below), fill=colour)
        draw.line((middle, y, middle, below), fill=WHITE)
    return np.asarray(image)


def _short(names: Sequence[str]) -> list[str]:
    """Return names without the last word that all of them share, such as _joint, so that the rest can be read."""
    endings = {name[name.rfind("_") :] if name.rfind("_") > 0 else "" for name in names}
    shared = endings.pop() if len(endings) == 1 and len(names) > 1 else ""
    return [name.removesuffix(shared) for name in names]


def _text_within(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> None:
    """Draw as much of a text as fits into `width` pixels."""
    while text and draw.textlength(text, font=font) > width:
        text = text[:-1]
    draw.text(place, text, fill=WHITE, font=font)


def _shaded(picture: Picture, top: int, bottom: int, right: int) -> Picture:
    """Return the picture with a darker box from row `top` to `bottom`, from the left edge to column `right`."""
    shaded = np.array(picture)
    box = shaded[top:bottom, :right]
    box[...] = (box * SHADE).astype(np.uint8)
    return shaded
