"""Going on with a run in a test, and comparing two runs bit for bit."""

from __future__ import annotations

import csv

import torch
from composed import composed_train

from acer_robot.run_folder.checkpoints import read_checkpoint
from acer_robot.training.resume import resumed_config
from acer_robot.training.run import train


def resume(folder, *overrides):
    """Go on with a run, as `acer-train resume=FOLDER OVERRIDES` does."""
    config = composed_train(f"resume='{folder}'", *overrides)
    return train(resumed_config(config, [override.partition("=")[0] for override in overrides]))


def rows(path):
    """Return the rows of a table without columns of time."""
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    return [
        {name: value for name, value in row.items() if name != "seconds" and not name.startswith("time/")}
        for row in found
    ]


def same_state(one, other):
    """Whether two states are equal; spaces are left out, as Gymnasium gives them random streams of no use or seed."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        if one.get("kind") == "space":
            return True
        return one.keys() == other.keys() and all(same_state(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_state, one, other))
    return one == other


def check_same(undisturbed, resumed, extra=()):
    """Check that two runs learnt the same; `extra` are steps of evaluations that only the resumed run has."""
    contents = [read_checkpoint(folder) for folder in (undisturbed, resumed)]
    assert contents[0]["steps"] == contents[1]["steps"]
    assert same_state(contents[0]["learner"], contents[1]["learner"])
    for part in ("collector", "task", "batches", "returns"):
        assert same_state(contents[0]["resume"][part], contents[1]["resume"][part]), part
    assert rows(undisturbed / "metrics.csv") == rows(resumed / "metrics.csv")
    every = rows(resumed / "eval.csv")
    assert rows(undisturbed / "eval.csv") == [row for row in every if int(row["step"]) not in extra]
    best = max(every, key=lambda row: (float(row["eval/return_mean"]), int(row["step"])), default=None)
    if best is not None:
        assert contents[1]["resume"]["best"] == float(best["eval/return_mean"])
        assert read_checkpoint(resumed, "best")["steps"] == int(best["step"])
