"""What the benchmarks' command lines have in common: which runs to do, and bad input told in one line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from acer_robot.errors import InputError


def whole(text: str, least: int = 0) -> int:
    """Read a whole number of at least `least`, for argparse."""
    if not (text.isdecimal() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}")
    return int(text)


def positive(text: str) -> int:
    """Read a number of at least 1, for argparse."""
    return whole(text, 1)


def override(text: str) -> str:
    """Read one option of the training command, for argparse."""
    if not re.fullmatch(r"[\w.]+=\S+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=VALUE without spaces, as in learner.delta=0.1"
        )
    return text


def chosen_seeds(options: argparse.Namespace) -> range:
    """Return the seeds that the options of `add_run_options` ask for."""
    return range(options.first_seed, options.first_seed + options.seeds)


def add_run_options(parser: argparse.ArgumentParser, tasks: Sequence[str], learners: Sequence[str]) -> None:
    """Add the options that every benchmark's `run` takes."""
    parser.add_argument("--seeds", type=positive, default=3, help="how many; what has a row is left alone")
    parser.add_argument("--first-seed", type=whole, default=0, help="the first of these seeds; default: 0")
    parser.add_argument("--tasks", nargs="+", default=list(tasks), metavar="TASK")
    parser.add_argument("--learners", nargs="+", default=list(learners), metavar="LEARNER")
    parser.add_argument("--workers", type=positive, default=1, help="runs at the same time, one core each")


def in_one_line(command: Callable[[], None]) -> None:
    """Call `command`; bad input ends in one line and exit status 2."""
    try:
        command()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
