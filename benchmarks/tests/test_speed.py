"""The scripts that measure speed: what they count, time and write."""

import flops
import profile_update
import pytest
import speed
import torch
from timing.blocks import in_turn, ratio, spread
from timing.fresh_learner import filled_replay, learner_options
from timing.update_products import IN_WEIGHTS, flop_by_part, products_alone, update_products

from acer_robot.errors import InputError

CPU = torch.device("cpu")
SMALL = [
    "learner.hidden=[8,8]",
    "learner.advantage_hidden=8",
    "learner.segment_length=2",
    "learner.segments=4",
]


@pytest.fixture(scope="module")
def replay():
    return filled_replay(learner_options(SMALL), CPU, steps=20)


def test_operations_are_in_proportion_to_states(replay):
    few, many = (
        sum(p.flop for p in update_products(learner_options([*SMALL, f"learner.segments={n}"]), replay))
        for n in (4, 12)
    )
    assert few > 4 * 2 * 3 * 2 * 8 * 8
    assert many == 3 * few


def test_every_product_has_its_part(replay):
    found = update_products(learner_options([*SMALL, "learner.embedding=4"]), replay)
    parts = flop_by_part(found)
    assert "other" not in parts
    assert {"actor", "average actor", "critics", "target critics", "embedding, learnt", IN_WEIGHTS} <= set(
        parts
    )
    assert parts["actor"] == 2 * 8 * (17 * 8 + 8 * 8 + 8 * 12)  # 8 states
    assert sum(parts.values()) == sum(product.flop for product in found)
    products_alone(found, "float32", CPU)()


def test_flops_table_ends_with_the_sum(replay):
    options = learner_options(SMALL)
    assert flops.table(update_products(options, replay), options).splitlines()[-1].startswith("| all | 27 |")


def test_unknown_option_is_refused():
    with pytest.raises(InputError, match="embeding"):
        learner_options(["learner.embeding=64"])


def test_blocks_take_turns():
    seen = []
    times = in_turn({name: lambda name=name: seen.append(name) for name in "ab"}, 3, 0.0, CPU)
    assert "".join(seen[6:]) == "abbaab"
    assert [len(found) for found in times.values()] == [3, 3]


def test_ratio_is_taken_round_by_round():
    assert ratio([2.0, 4.0, 6.0], [1.0, 4.0, 2.0]).median == 2.0
    assert spread([3.0]).shown(".1f") == "3.0 (3.0 to 3.0)"


def test_section_replaces_its_former_self():
    page = speed.with_section(speed.with_section("# Page\n\nKept.\n", "update", "one"), "growth", "two")
    again = speed.with_section(page, "update", "three \\1")
    assert "one" not in again
    assert again.index("Kept.") < again.index("three \\1") < again.index("two")


def test_profile_groups_an_event_with_what_it_lies_in():
    class Event:
        def __init__(self, name, parent=None):
            self.name, self.cpu_parent, self.self_cpu_time_total = name, parent, 1.0

    draw = Event(profile_update.DRAW)
    times, _ = profile_update.grouped(
        [draw, Event("aten::empty", draw), Event("aten::mm"), Event("aten::mul")]
    )
    assert times["sampling"] == 2.0
    assert times["products"] == times[profile_update.ELEMENT_WISE] == 1.0
