"""Where the time of an update goes: products, fused loops, Adam, averages, sampling, guards, and the rest.

    python benchmarks/profile_update.py [learner.embedding=64 ..] [--updates 200] [--eager] [--trace FILE.json]

Profiling itself takes time, which falls on many short operations more than on few long ones: take the shares from here
and the time from benchmarks/speed.py. Run it on an otherwise idle machine. `--trace` leaves a file for
https://ui.perfetto.dev.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from rows.command_line import in_one_line, positive
from timing.fresh_learner import can_compile, filled_replay, fresh_learner, learner_options
from torch.profiler import ProfilerActivity, profile, record_function

from acer_robot.learner.precision import choose_precision

CPU = torch.device("cpu")
DRAW, UPDATE, PRIORITIES = "draw a batch", "learner.update", "set priorities"
GROUPS = {
    "sampling": rf"^({DRAW}|{PRIORITIES})$|^aten::(randn|normal_)$",
    "products": r"^aten::(mm|addmm|bmm|baddbmm|linear|matmul)(_out)?$|^mkldnn|^mkl::",
    "fused loops": r"cpp_fused|^cpp_",
    "Adam": r"^Optimizer\.|_fused_adam|^aten::_foreach|zero_grad",
    "averages": r"^aten::lerp_$",
    "guards": r"Cache Lookup|[Gg]uard",
    "compiled code's own Python": r"Compiled|Inductor|AOTDispatcher|Torch-Compiled",
}
"""Group and what names its events, in order of precedence; an event that none names counts to the one it lies in."""
ELEMENT_WISE, REST = "other operations of PyTorch", "Python of the learner"


class Event(Protocol):
    """What is read of an event of torch.profiler."""

    name: str
    cpu_parent: Event | None
    self_cpu_time_total: float


def group_of(event: Event) -> str:
    """Return the group of the event or of the nearest one around it that has one."""
    around: Event | None = event
    while around is not None:
        for group, names in GROUPS.items():
            if re.search(names, around.name):
                return group
        around = around.cpu_parent
    return ELEMENT_WISE if event.name.startswith("aten::") else REST


def grouped(events: Iterable[Event]) -> tuple[dict[str, float], dict[str, Counter[str]]]:
    """Return microseconds of each group, and in each of them those of its events by name."""
    names: dict[str, Counter[str]] = {group: Counter() for group in (*GROUPS, ELEMENT_WISE, REST)}
    for event in events:
        names[group_of(event)][event.name] += event.self_cpu_time_total
    return {group: sum(found.values()) for group, found in names.items()}, names


def table(times: dict[str, float], names: dict[str, Counter[str]], updates: int) -> str:
    """Return one row a group, with its three longest events."""
    total = sum(times.values())
    lines = ["| group | ms an update | share | of which, ms |", "|---|---|---|---|"]
    for group, microseconds in sorted(times.items(), key=lambda item: -item[1]):
        if microseconds:
            longest = [f"{name} {time / updates / 1e3:.3f}" for name, time in names[group].most_common(3)]
            cells = [
                group,
                f"{microseconds / updates / 1e3:.3f}",
                f"{microseconds / total:.0%}",
                ", ".join(longest),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def profiled(words: list[str], updates: int, compiling: bool, trace: Path | None = None) -> str:
    """Profile updates on the CPU and return the table."""
    from torch._inductor import config as inductor

    inductor.cpp.enable_kernel_profile = True  # fused loops then are events of their own
    options = learner_options(words)
    options = dataclasses.replace(
        options, compile=compiling, precision=choose_precision(options.precision, CPU)
    )
    replay, learner = filled_replay(options, CPU), fresh_learner(options, CPU)

    def update() -> None:
        with record_function(DRAW):
            batch = replay.sample(options.segments)
        with record_function(UPDATE):
            seen = learner.update(batch)
        with record_function(PRIORITIES):
            replay.learnt(seen.ascent.error)

    for _ in range(5):
        update()
    start = time.perf_counter()
    for _ in range(updates):
        update()
    plain = (time.perf_counter() - start) / updates
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(updates):
            update()
    if trace is not None:
        found.export_chrome_trace(str(trace))
    times, names = grouped(found.events())
    kind = "compiled" if compiling else "eager"
    seen = sum(times.values()) / updates / 1e3
    return (
        f"{updates} updates, {kind}, {options.precision}, {torch.get_num_threads()} threads: {plain * 1e3:.2f} ms each "
        f"and {seen:.2f} with the profiler\n\n{table(times, names, updates)}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("options", nargs="*", metavar="learner.NAME=VALUE", help="as acer-train takes them")
    parser.add_argument("--updates", type=positive, default=200)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--trace", type=Path, help="file for the events themselves")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compiling = not options.eager and can_compile(CPU)
    print(profiled(options.options, options.updates, compiling, options.trace))


if __name__ == "__main__":
    in_one_line(main)
