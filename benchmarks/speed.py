"""How fast learning is: the update beside its matrix products and SAC's update, whole runs, memory, and growth.

    python benchmarks/speed.py [--part update|end_to_end|growth ..] [--rounds 9] [--device cpu] [--threads 1]

Run it on an otherwise idle machine; all parts take about ten minutes. Whatever is compared is timed in turn, block by
block, in one run: a ratio is taken round by round, and the tables have its median and quartiles. Each part replaces
its section of benchmarks/results/speed.md and leaves the rest of that page alone. Stable-Baselines3 is in the extra:
pip install -e '.[benchmarks]'.

- update: one update, compiled, with each `learner.precision` that this processor has, with and without the embedding,
  beside the update's own products alone and beside Stable-Baselines3's SAC (256 states).
- end_to_end: environment steps a second of collecting and learning, and the peak of memory.
- growth: the update over batch and width, collecting over environments, a draw over 10^4 to 10^7 transitions of replay.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
from rows.command_line import in_one_line, positive
from rows.runs import ROOT, revision, versions
from timing.speed_growth import growth
from timing.speed_run import end_to_end
from timing.speed_update import update

from acer_robot.errors import InputError
from acer_robot.provenance import cpu_model

PAGE = ROOT / "benchmarks" / "results" / "speed.md"


class Part(NamedTuple):
    """One section of the page."""

    title: str
    measure: Callable[[argparse.Namespace, torch.device], str]
    block: float
    """Seconds of a block, unless --block says otherwise."""


PARTS = {
    "update": Part("The update", update, 0.4),
    "end_to_end": Part("Collecting and learning, end to end", end_to_end, 3.0),
    "growth": Part("Growth", growth, 0.2),
}


def where_and_how(options: argparse.Namespace, device: torch.device, loads: tuple[str, str]) -> str:
    """Return date, command, revision, machine and versions."""
    cuda = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    has_peer = importlib.util.find_spec("stable_baselines3") is not None
    return (
        f"{date.today().isoformat()}, `{' '.join(['python benchmarks/speed.py', *options.words])}` at revision "
        f"{revision()}, {cpu_model()}{cuda}, {len(os.sched_getaffinity(0))} cores, {options.threads} threads, load "
        f"average before {loads[0]} and after {loads[1]}; {versions('sb3_sac' if has_peer else 'acer')}. "
        f"{options.rounds} rounds with blocks of {options.block:g} s; medians with quartiles over the rounds."
    )


def with_section(page: str, name: str, text: str, script: str = "benchmarks/speed.py") -> str:
    """Return the page with the section `name` replaced, or added at its end."""
    begin, end = f"<!-- {name}: written by {script} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(page):
        return found.sub(lambda _: section, page)
    return f"{page.rstrip()}\n\n{section}\n"


def chosen_device(name: str) -> torch.device:
    """Return the device called `name`.

    Raises:
        InputError: if it does not exist here.
    """
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: torch finds no GPU here; leave it out, or install a build of torch for CUDA"
        )
    return device


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=positive, default=9, help="blocks of each contender; default: 9")
    parser.add_argument("--block", type=float, help="seconds of a block; default: " + ", ".join(
        f"{part.block:g} of {name}" for name, part in PARTS.items()
    ))  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument(
        "--eager", action="store_true", help="do not compile, which saves minutes when trying"
    )
    parser.add_argument("--largest-replay", type=positive, default=10**7, help="of growth, in transitions")
    parser.add_argument("--out", type=Path, default=PAGE, help="page whose sections are replaced")
    options = parser.parse_args(words)
    if options.block is not None and not 0.0 < options.block < 3600.0:
        raise InputError(f"--block {options.block:g} is out of range; give seconds, such as 0.4")
    options.words = words
    return options


def main() -> None:
    """Measure the parts that are asked for; print each and write it to the page."""
    options = parse(sys.argv[1:])
    device, block = chosen_device(options.device), options.block
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes whose memory is measured
    for name in options.part:
        part = PARTS[name]
        options.block = part.block if block is None else block
        before = f"{os.getloadavg()[0]:.1f}"
        text = part.measure(options, device)
        header = where_and_how(options, device, (before, f"{os.getloadavg()[0]:.1f}"))
        section = f"## {part.title}\n\n{header}\n\n{text}"
        print(f"\n{section}", flush=True)
        page = options.out.read_text(encoding="utf-8") if options.out.exists() else "# Speed of learning\n"
        options.out.write_text(with_section(page, name, section), encoding="utf-8")


if __name__ == "__main__":
    in_one_line(main)
