"""POLICY_CARD.md: what an exported policy controls, how to load it, what it scored, where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from acer_robot.spec import TaskSpec

CARD = """\
# Policy card: {task}

A policy with {joints} commands for `{task}`, trained with ACER (Wang et al. 2017) for {steps:,} environment
steps. The weights are a running average over the updates. The policy is deterministic: the same observation always
gives the same commands.

## Input and output

`policy.pt` takes a {raw} `[{width}]` or `[B, {width}]`, and returns commands
`[{joints}]` or `[B, {joints}]` in {units}, one every
{control_dt:g} s ({rate:g} Hz).
{notes}
| observation | entries | unit |
|---|---|---|
{observation_rows}

| command | low | high | fallback | largest change per second |
|---|---|---|---|---|
{command_rows}

No command leaves these bounds, whatever comes in. An observation with a NaN or an infinity gives the fallback
command. An observation of another width is refused with an error.

## Loading it

A TorchScript archive is code. Load it only from a source that you would run a program from, and compare its
sha256 first: `{file_sha256}`.

Python, with torch alone:

```python
import torch

policy = torch.jit.load("policy.pt")
policy.reset()                                    # at the start of every episode
with torch.inference_mode():
    command, usable = policy.act(torch.zeros({width}))  # or policy(observation) for the command alone
```

C++, with libtorch:

```cpp
#include <torch/script.h>

torch::jit::Module policy = torch::jit::load("policy.pt");
policy.get_method("reset")({{}});
c10::InferenceMode guard;
auto result = policy.get_method("act")({{torch::zeros({{{width}}})}}).toTuple();
torch::Tensor command = result->elements()[0].toTensor();
bool usable = result->elements()[1].toTensor().item<bool>();
```

`policy.metadata()` returns the contents of `policy.json`. The first few calls are slow, while TorchScript
compiles: make some before the loop starts, and call `reset()` after them. `test_vectors.npz` holds
observations and the commands that they must give.

## Scores

{scores}

## Checks

Run in a process of its own that cannot import acer_robot, before this file was put in its place:

{checks}

## Recipe

{recipe}

## Limits

- Trained and scored in simulation only, in the task above; nothing is known about other robots or floors.
- The bounds hold for every single command. {rate_limit}
- Where observations leave the range that training saw, they are clipped to {limit}; commands stay within
  bounds, but need not make sense.

## Provenance

{provenance}
"""


def render_card(metadata: Mapping[str, Any]) -> str:
    """Return the card in Markdown for the contents of the policy.json beside a file."""
    spec = TaskSpec.from_dict(metadata["task"])
    bounds, rates = spec.bounds, spec.slew_rate or (None,) * spec.action_size
    joints = zip(bounds.names, bounds.low, bounds.high, metadata["fallback"], rates, strict=True)
    normalizer = metadata["normalizer"]
    return CARD.format(
        task=spec.id,
        steps=metadata["training"]["steps"],
        width=spec.observation_size,
        joints=spec.action_size,
        control_dt=spec.control_dt,
        rate=1.0 / spec.control_dt,
        raw="float32 observation as the task returns it, not normalised or scaled any further,"
        if spec.notes
        else "raw float32 observation, not normalised or scaled,",
        units="actuator units (MuJoCo's `ctrl`)"
        if spec.command_is_actuator
        else "the environment's units: they are no actuator's, and only this task knows what they mean",
        notes="".join(f"\n- {note}" for note in spec.notes) + "\n" * bool(spec.notes),
        observation_rows="\n".join(
            f"| {_cell(field.name)} | {_entries(field.start, field.stop)} | {field.unit} |"
            for field in spec.observation
        ),
        command_rows="\n".join(
            f"| {_cell(name)} | {low:g} | {high:g} | {rest:g} | {'any' if rate is None else f'{rate:g}'} |"
            for name, low, high, rest, rate in joints
        ),
        file_sha256=metadata["file_sha256"],
        scores=_scores(metadata["evaluation"]),
        checks=_checks(metadata),
        recipe=_table({"algorithm": metadata["algorithm"], **metadata["learner"]}),
        rate_limit=_rate_limit(spec),
        limit=f"{normalizer['limit']:g} standard deviations" if normalizer["enabled"] else "±1e9",
        provenance=_provenance(metadata),
    )


def confidence_interval(returns: list[float]) -> tuple[float, float]:
    """Return a 95 % percentile bootstrap interval of the mean, from 10,000 resamples with a fixed seed."""
    values = np.asarray(returns)
    picks = np.random.default_rng(0).integers(0, values.size, (10_000, values.size))
    low, high = np.percentile(values[picks].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def _scores(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return "Not evaluated at export. `acer-eval policy=policy.pt` does it."
    low, high = confidence_interval(evaluation["returns"])
    lines = [
        f"Return of this file over {evaluation['episodes']} whole episodes (seed {evaluation['seed']}): mean "
        f"**{evaluation['return_mean']:.1f}**, standard deviation {evaluation['return_std']:.1f},",
        f"95 % bootstrap interval of the mean {low:.1f} to {high:.1f}.",
        "It is one training run: other seeds of training give other policies.",
    ]
    if "policy_return_mean" in evaluation:
        lines.append(
            f"The training-side policy on the same episodes: {evaluation['policy_return_mean']:.1f}."
        )
    return "\n".join(lines)


def _checks(metadata: Mapping[str, Any]) -> str:
    reports = {"": metadata["verification"]}
    reports |= {f"{file}, ": other["verification"] for file, other in metadata["other_formats"].items()}
    return "\n".join(
        f"- {file}{name}: {_plain(result)}"
        for file, report in reports.items()
        for name, result in report.items()
    )


def _rate_limit(spec: TaskSpec) -> str:
    if not spec.slew_rate and spec.low_pass_hz is None:
        return "How fast commands may change is not limited."
    low_pass = f" and by a first-order low-pass of {spec.low_pass_hz:g} Hz" if spec.low_pass_hz else ""
    return (
        f"Their changes are limited as the table says{low_pass},\n"
        "  starting from rest (zero, or the middle of the range); unusable observations approach the fallback.\n"
        "  So one loaded file serves one robot, or one batch, until `reset()`."
    )


def _provenance(metadata: Mapping[str, Any]) -> str:
    """Show the code of training and of export apart: they may be months from each other."""
    training, simulator = metadata["training"], dict(metadata["task"]["versions"])
    recorded: Mapping[str, str] = training["versions"] or {}
    return _table(
        {
            "code of training": training["revision"]
            or ("not from a git checkout" if recorded else "not recorded"),
            "code of export": metadata["git_revision"] or "not from a git checkout",
            "config sha256": training["config_sha256"],
            "weights sha256": metadata["weights_sha256"],
            "training seed": training["seed"],
            **{f"{name} of training": version for name, version in {**recorded, **simulator}.items()},
            **{
                f"{name} of export": version
                for name, version in metadata["versions"].items()
                if name not in simulator
            },
        }
    )


def _cell(text: str) -> str:
    """Return `text` for a cell of a table, with a backslash before what Markdown would read as a sign."""
    return re.sub(r"([\\`*<>|&\[\]])", r"\\\1", text)


def _entries(start: int, stop: int) -> str:
    return str(start) if stop == start + 1 else f"{start} to {stop - 1}"


def _plain(value: Any) -> str:  # noqa: ANN401 (whatever a check reports)
    return (
        ", ".join(f"{key} {item}" for key, item in value.items())
        if isinstance(value, Mapping)
        else str(value)
    )


def _table(values: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])
