"""POLICY_CARD.md: what an exported policy controls, how to load it, its scores, and the code that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from acer_robot.deployment.robustness import table_rows
from acer_robot.rate_limit import is_limited
from acer_robot.spec import ObservationField, TaskSpec

CARD = """\
# Policy card: {task}

A policy with {joints} commands for `{task}`, trained with ACER (Wang et al. 2017) for {steps:,} environment
steps. Its weights are an average over the latest updates of training. It is deterministic: the same observations
after a `reset()` give the same commands.

## Input and output

`policy.pt` takes a {raw} `[{width}]` or `[B, {width}]`. It returns commands
`[{joints}]` or `[B, {joints}]` in {units}. Call it once every
{control_dt:g} s ({rate:g} Hz).
{notes}
| observation | entries | unit |
|---|---|---|
{observation_rows}

| command | low | high | fallback | largest change per second | rest |
|---|---|---|---|---|---|
{command_rows}

No command leaves these bounds, for any observation. {unusable}
{rest}
The policy refuses an observation of another width with an error.

{robot}## Loading it

A TorchScript file is code. Load it only from a source that you trust. Compare its sha256 first:
`{file_sha256}`.

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

`policy.metadata()` returns the contents of `policy.json`. TorchScript compiles during the first calls, so these
are slow. Call the policy 50 times before the loop starts, and then call `reset()`. `test_vectors.npz` holds
observations and the commands that the policy must return for them.

## Scores

{scores}

## Checks

The export ran these checks before it kept the file, in a separate process that cannot import acer_robot:

{checks}

## Recipe

{recipe}

## Limits

- We trained and scored this policy only in simulation, in the task above. We know nothing about other robots
  or floors.
- Every command is within the bounds. {rate_limit}
- The policy clips observations to {limit}.
  Outside the range that training saw, commands stay within bounds but may be useless.

## Provenance

{provenance}
"""


def render_card(metadata: Mapping[str, Any]) -> str:
    """Return the card in Markdown for the contents of the policy.json beside a file."""
    spec = TaskSpec.from_dict(metadata["task"])
    bounds, rates = spec.bounds, spec.slew_rate or (None,) * spec.action_size
    joints = zip(
        bounds.names, bounds.low, bounds.high, metadata["fallback"], metadata["rest"], rates, strict=True
    )
    normalizer = metadata["normalizer"]
    return CARD.format(
        task=spec.id,
        steps=metadata["training"]["steps"],
        width=spec.observation_size,
        joints=spec.action_size,
        control_dt=spec.control_dt,
        rate=1.0 / spec.control_dt,
        raw="float32 observation as the task returns it, without further normalisation or scaling,"
        if spec.notes
        else "raw float32 observation, not normalised or scaled,",
        units="actuator units (MuJoCo's `ctrl`)"
        if spec.command_is_actuator
        else "the environment's units: they are no actuator's, and only this task defines their meaning",
        notes="".join(f"\n- {note}" for note in spec.notes) + "\n" * bool(spec.notes),
        observation_rows="\n".join(
            f"| {_cell(field.name)} | {_entries(field.start, field.stop)} | {_unit(field)} |"
            for field in spec.observation
        ),
        command_rows="\n".join(
            f"| {_cell(name)} | {low:g} | {high:g} | {fallback:g} | {'any' if rate is None else f'{rate:g}'} "
            f"| {rest:g} |"
            for name, low, high, fallback, rest, rate in joints
        ),
        file_sha256=metadata["file_sha256"],
        scores=_scores(metadata["evaluation"]),
        checks=_checks(metadata),
        recipe=_table({"algorithm": metadata["algorithm"], **metadata["learner"]}),
        unusable=_unusable(spec),
        rate_limit=_rate_limit(spec),
        rest=_rest(metadata.get("robot")),
        robot=_robot(metadata.get("robot")),
        limit=f"{normalizer['limit']:g} standard deviations from the mean that training saw"
        if normalizer["enabled"]
        else "±1e9",
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
    noun = "whole episode" if evaluation["episodes"] == 1 else "whole episodes"
    lines = [
        f"Return of this file over {evaluation['episodes']} {noun} (seed {evaluation['seed']}): mean "
        f"**{evaluation['return_mean']:.1f}**, standard deviation {evaluation['return_std']:.1f},",
        f"95 % bootstrap interval of the mean {low:.1f} to {high:.1f}.",
        "These scores are of one training run. Other training seeds give other policies.",
    ]
    if "policy_return_mean" in evaluation:
        lines.append(
            "The training-side policy has a mean return of "
            f"{evaluation['policy_return_mean']:.1f} on the same episodes."
        )
    return "\n".join(lines) + _robustness(evaluation.get("robustness"))


def _robustness(table: Mapping[str, Any] | None) -> str:
    """Return the robustness table, if there is one."""
    if table is None:
        return ""
    rows = [f"| {' | '.join(row)} |" for row in table_rows(table)]
    head = (
        f"\n\n## Robustness\n\n{table['episodes']} episodes each in MuJoCo C (seed {table['seed']}), with one thing "
        "changed at a time. A fall is an\nepisode that ended before its time limit.\n\n"
    )
    worst = f"\n\nThe worst is {table['worst']}." if table["worst"] else ""
    return head + "\n".join(["| change | mean return | falls |", "|---|---|---|", *rows]) + worst


def _checks(metadata: Mapping[str, Any]) -> str:
    reports = {"": metadata["verification"]}
    reports |= {f"{file}, ": other["verification"] for file, other in metadata["other_formats"].items()}
    return "\n".join(
        f"- {file}{name}: {_plain(result)}"
        for file, report in reports.items()
        for name, result in report.items()
    )


def _unusable(spec: TaskSpec) -> str:
    """Say what an observation with a non-finite entry does."""
    if is_limited(spec.slew_rate, spec.low_pass_hz):
        return "For an observation with a NaN or an infinity\nthe commands approach the fallback command."
    return "An observation with a NaN or an infinity\ngets the fallback command."


def _rest(robot: Mapping[str, Any] | None) -> str:
    """Say where a safe stop ends, and what that means for the actuators."""
    kinds = {actuator["kind"] for actuator in robot["actuators"]} if robot else set()
    meaning = "Look up what it does on your robot."
    if kinds == {"position"}:
        meaning = "It is a pose: the robot stays stiff in it."
    elif kinds == {"motor"}:
        meaning = "It is a torque or force: with 0 the robot is limp and falls."
    elif kinds == {"velocity"}:
        meaning = "It is a speed: with 0 the robot stands still."
    return (
        f"A safe stop ends at the command `rest`. {meaning} `acer-export rest={{joint: value}}` changes it."
    )


def _robot(robot: Mapping[str, Any] | None) -> str:
    """Return the section on the actuators that the file is made for; "" where the commands are not an actuator's."""
    if not robot:
        return ""
    rows = [
        f"| {_cell(a['joint'])} | {a['kind']} | {a['unit']} | {a['gear']:g} | {_list(a['gain'])} | {_list(a['bias'])} "
        f"| {'none' if a['force_limit'] is None else _list(a['force_limit'])} |"
        for a in robot["actuators"]
    ]
    head = "| command | actuator | unit | gear | gain | bias | force limit |\n|---|---|---|---|---|---|---|"
    model = f"\n\nThe model file has the sha256 `{robot['model_sha256']}`." if robot["model_sha256"] else ""
    return "\n".join(["## What it is made for\n", head, *rows]) + model + "\n\n"


def _list(numbers: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _rate_limit(spec: TaskSpec) -> str:
    """Say how fast commands may change, and what that means for the user of the file."""
    if not is_limited(spec.slew_rate, spec.low_pass_hz):
        return "The change from one command to the next is not limited."
    lines = ["The table gives the largest change of a command per second."] if spec.slew_rate else []
    if spec.low_pass_hz:
        lines.append(f"A first-order low-pass of {spec.low_pass_hz:g} Hz smooths the commands.")
    lines += ["After `reset()` the commands start from rest: zero, or the middle of the range."]
    if spec.observes_last_command:
        lines.append("The policy also observes its last command. The file adds it to the observation itself.")
    lines.append(
        "The file remembers the last command, so use one loaded file for one robot, or for one batch."
    )
    return "\n  ".join(lines)


def _provenance(metadata: Mapping[str, Any]) -> str:
    """Show the code of training and of export separately, because a run may be exported much later."""
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
    """Return `text` for a cell of a table, with a backslash before each character that is Markdown syntax."""
    return re.sub(r"([\\`*<>|&\[\]])", r"\\\1", text)


def _unit(field: ObservationField) -> str:
    """Return the unit of an observation, and the frame that its axes belong to."""
    frame = f"in the frame of {_cell(field.frame)}" if field.frame else ""
    return ", ".join(part for part in (field.unit, frame) if part)


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
