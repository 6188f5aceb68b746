"""One update beside the matrix products that it is made of, and beside an update of Stable-Baselines3's SAC."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any, NamedTuple

import numpy as np
import torch
from timing.blocks import Call, in_turn, ratio, spread
from timing.fresh_learner import (
    JOINTS,
    OBSERVATIONS,
    can_compile,
    family_options,
    filled_replay,
    fresh_learner,
    learner_options,
    precisions,
)
from timing.update_products import products_alone, update_products

from acer_robot.experience.replay import Replay
from acer_robot.schema import LearnerConfig

SAC = "Stable-Baselines3's SAC"
SAC_STATES, SAC_STORED = 256, 16_000
"""Its batch, the default of Stable-Baselines3, and as many transitions in its replay as in ours."""

DEFAULT = "HalfCheetah-v5's default"
SETTINGS = {
    "learner.embedding=0": [],
    "learner.embedding=64": ["learner.embedding=64"],
    DEFAULT: family_options("halfcheetah"),
}
"""Whose updates are timed: the learner's default, which is Walker2d-v5's; with the embedding; HalfCheetah-v5's."""


class Ours(NamedTuple):
    """A setting of our update, and the name of its products alone among the contenders."""

    states: int
    flop: int
    alone: str


def update_call(options: LearnerConfig, replay: Replay, device: torch.device) -> Call:
    """Return an update of a batch drawn from the replay, which gets the errors."""
    learner = fresh_learner(options, device)
    return lambda: replay.learnt(learner.update(replay.sample(options.segments)).ascent.error)


def sac_model(device: torch.device, stored: int = SAC_STORED) -> Any:
    """Return an untrained SAC as benchmarks/peers.py trains it, with random transitions in its replay."""
    from peers import build
    from stable_baselines3.common.logger import configure

    model = build("sac", "HalfCheetah-v5", 0, str(device))
    model.set_logger(configure(None, []))
    random = np.random.default_rng(0)
    for _ in range(stored):
        x, next_x = random.standard_normal((2, 1, OBSERVATIONS))
        action, reward = random.uniform(-1.0, 1.0, (1, JOINTS)), random.standard_normal(1)
        model.replay_buffer.add(x, next_x, action, reward, np.zeros(1), [{}])
    return model


def sac_call(device: torch.device) -> Call:
    """Return an update of Stable-Baselines3's SAC; it draws its own batch."""
    model = sac_model(device)
    return lambda: model.train(gradient_steps=1, batch_size=SAC_STATES)


def contenders(eager: bool, device: torch.device) -> tuple[dict[str, Call], dict[str, Ours]]:
    """Return all calls by name, and what our updates among them are."""
    compiling = not eager and can_compile(device)
    calls: dict[str, Call] = {}
    ours: dict[str, Ours] = {}
    available = precisions(device)
    for of_setting, words in SETTINGS.items():
        options = learner_options(words)
        replay = filled_replay(options, device)
        found = update_products(options, replay)
        flop, states = sum(product.flop for product in found), options.segments * options.segment_length
        for precision in available:
            name = f"{of_setting}, {precision}"
            alone = f"products alone: {name}"
            calls[alone] = products_alone(found, precision, device)
            for compiled in (False, True) if compiling else (False,):
                if compiling and not compiled and (words or precision != "float32"):
                    continue  # one row shows what compiling is worth
                setting = learner_options(
                    [*words, f"learner.precision={precision}", f"learner.compile={compiled}"]
                )
                full = f"{name}, {'compiled' if compiled else 'eager'}"
                calls[full] = update_call(setting, replay, device)
                ours[full] = Ours(states, flop, alone)
    if importlib.util.find_spec("stable_baselines3") is not None:
        calls[SAC] = sac_call(device)
    else:
        print(f"left out: {SAC}; pip install -e '.[benchmarks]'", flush=True)
    return calls, ours


def table(times: dict[str, list[float]], ours: dict[str, Ours]) -> str:
    """Return one row an update."""
    lines = [
        f"| update | states | MFLOP | ms | us a transition | of the products' bound | over {SAC}: an update "
        "| a transition |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, its in ours.items():
        here = times[name]
        cells = [name, str(its.states), f"{its.flop / 1e6:.0f}", spread(here).shown(".2f", 1e3)]
        cells += [spread(here).shown(".1f", 1e6 / its.states), ratio(times[its.alone], here).shown(".0%")]
        if SAC in times:
            of_sac = ratio(here, times[SAC])
            cells += [of_sac.shown(".2f"), of_sac.shown(".2f", SAC_STATES / its.states)]
        else:
            cells += ["not run", "not run"]
        lines.append(f"| {' | '.join(cells)} |")
    if SAC in times:
        theirs = spread(times[SAC])
        milliseconds, microseconds = theirs.shown(".2f", 1e3), theirs.shown(".1f", 1e6 / SAC_STATES)
        lines.append(f"| {SAC} | {SAC_STATES} | | {milliseconds} | {microseconds} | | 1 | 1 |")
    return "\n".join(lines)


def products_table(times: dict[str, list[float]], ours: dict[str, Ours]) -> str:
    """Return one row for the products of each setting, alone."""
    lines = ["| products alone | ms | GFLOP/s |", "|---|---|---|"]
    for alone, flop in {its.alone: its.flop for its in ours.values()}.items():
        rate = spread([flop / seconds / 1e9 for seconds in times[alone]])
        name = alone.removeprefix("products alone: ")
        lines.append(f"| {name} | {spread(times[alone]).shown('.2f', 1e3)} | {rate.shown('.0f')} |")
    return "\n".join(lines)


def update(options: argparse.Namespace, device: torch.device) -> str:
    """Measure; return the tables and what they mean."""
    calls, ours = contenders(options.eager, device)
    times = in_turn(calls, options.rounds, options.block, device)
    return (
        f"{table(times, ours)}\n\n{products_table(times, ours)}\n\n"
        "An update draws its batch. The products' bound is the time of the update's own matrix products alone, one "
        "after the other, each at its own shape and with the same precision: 100% would be an update of nothing else. "
        "Below 1, ours takes less time than SAC's."
    )
