"""Floating-point operations of the matrix products of one update, by part.

    python benchmarks/flops.py [learner.embedding=64 ..]

Element-wise work is not counted; the value heads and the last layer of the advantage heads, which have one output, are
part of it. The sizes are those of HalfCheetah-v5.
"""

from __future__ import annotations

import argparse

import torch
from rows.command_line import in_one_line
from timing.fresh_learner import filled_replay, learner_options
from timing.update_products import Product, flop_by_part, update_products

from acer_robot.schema import LearnerConfig


def table(found: list[Product], options: LearnerConfig) -> str:
    """Return one row a part: products, floating-point operations, share, and those for each replayed transition."""
    states, total = options.segments * options.segment_length, sum(product.flop for product in found)
    lines = ["| part | products | MFLOP | share | kFLOP a transition |", "|---|---|---|---|---|"]
    for part, flop in [*flop_by_part(found).items(), ("all", total)]:
        count = sum(part in (product.part, "all") for product in found)
        lines.append(
            f"| {part} | {count} | {flop / 1e6:.1f} | {flop / total:.0%} | {flop / states / 1e3:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("options", nargs="*", metavar="learner.NAME=VALUE", help="as acer-train takes them")
    options = learner_options(parser.parse_args().options)
    replay = filled_replay(options, torch.device("cpu"), steps=2 * options.segment_length)
    found = update_products(options, replay)
    print(f"{options.segments} segments of {options.segment_length}, HalfCheetah-v5's sizes\n")
    print(table(found, options))


if __name__ == "__main__":
    in_one_line(main)
