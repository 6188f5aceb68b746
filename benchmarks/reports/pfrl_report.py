"""The report of benchmarks/pfrl_acer.py: returns at equal steps, speed per CPU second, and what differs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rows.curves import mean_of
from rows.results_table import Row, decode_curve, read_rows
from rows.runs import ROOT

TABLE = ROOT / "benchmarks" / "results" / "pfrl.csv"
PFRL, OURS = "pfrl", "paper"
COMMON = ("learner.poisson", "learner.replay_size")
"""Overrides of every run, which the list of settings has."""
SLACK = 15
"""Sixteen environments are evaluated at the first multiple of 16 steps that is due."""
REPLAY_RATIO, LEARNING_STARTS = 4.0, 1_000
"""Of `learner=paper`. Both replay `ratio * (steps - 1000)` transitions, as benchmarks/tests/test_pfrl.py counts."""


class Case(NamedTuple):
    """What all rows of one comparison have in common."""

    task: str
    steps: int
    settings: str
    """Where it leaves the settings that the report lists."""


Rows = dict[str, Row]
"""By seed."""
Found = dict[Case, dict[tuple[str, str], Rows]]
"""By learner and number of environments."""

SETTINGS = """\
| setting | `learner=paper`, but what a table names | PFRL |
|---|---|---|
| discount gamma | `gamma: 0.99` | `gamma=0.99` |
| truncation c | `c: 5` | `truncation_threshold=5` |
| trust region delta | `delta: 1` | `use_trust_region=True, trust_region_delta=1` |
| average policy alpha | `alpha: 0.995` | `trust_region_alpha=0.995` |
| return in the policy gradient | always Qopc | `use_Q_opc=True` |
| SDN samples n | `sdn_samples: 5` | `ACERContinuousActionHead(n=5)` |
| policy | Gaussian, std 0.3 fixed, actions clipped | `GaussianHeadWithFixedCovariance(0.3)`, clipped |
| actor | 2 x 256 ReLU, last layer x 0.01 | the same |
| critic | 2 x 256 ReLU trunk; V; A of 128 over trunk and clipped action | the same, shared parts computed once |
| target critic | none | none |
| entropy term | none | `beta=0` |
| segment k | `segment_length: 50` | `t_max=50` |
| replays | `replay_ratio: 4`, `poisson: false` | `n_times_replay=4` |
| on-policy update | none | `disable_online_update=True` |
| segments in an update | `segments: 1` | 1 |
| replay | `replay_size: 20000` over all environments | `EpisodicReplayBuffer(20000)` |
| first update after | `learning_starts: 1000` | `replay_start_size=1000` |
| loss | mean over states of 1/2 (Qret - Q)^2 + 1/2 (Vtarget - V)^2 | `Q_loss_coef=1`, by steps |
| optimiser | Adam 3e-4, fused | Adam 3e-4, fused |
| evaluation | average policy, mean action, 10 episodes | the same code |
"""
DIFFERENCES = """\
From equal networks and one off-policy segment the two compute the same gradients: benchmarks/tests/test_pfrl.py,
which needs the extra. What sets them apart is how: PFRL steps through a segment state by state, ours takes it in one
batch, so that the ratio of their speeds grows with the transitions in an update: k here; ours can also take several
segments, PFRL cannot.

1. PFRL replays finished episodes only, and draws the episode before the segment; ours replays every stored step and
   lets segments cross episode ends.
2. PFRL makes its replays together after every k-th step, and once more at the end of an episode that k does not divide
   (under 1 % more, not counted above); ours spreads the updates evenly.
3. PFRL draws new SDN samples for each action that it evaluates; ours draws one set for a state.
4. PFRL's fixed std fails an assertion of its trust region, which asks a gradient of it. `get_params_of_distribution`
   is replaced by one that returns the mean alone, which is also the paper's phi here. Nothing else of PFRL is changed.
5. Some transitions of PFRL's first episodes: it begins to replay at the end of the episode that makes 1,000 steps, ours
   at step 1,000.
6. With 16 environments ours plays 16 episodes side by side and updates as often per environment step as with one.
"""


def cpu_seconds(row: Row) -> float:
    """Return CPU seconds of the whole run."""
    return decode_curve(row["curve"])[-1].seconds


def return_at(row: Row, step: int) -> float:
    """Return the mean return of the last evaluation up to `step`."""
    return [point.value for point in decode_curve(row["curve"]) if point.step <= step][-1]


def interval(values: Sequence[float]) -> str:
    """Return the mean with Student's 95 % interval over seeds; a single seed has none."""
    estimate = mean_of(np.array(values))
    if len(values) < 2:
        return f"{estimate.mean:,.0f} (one seed)"
    return f"{estimate.mean:,.0f} ± {estimate.high - estimate.mean:,.0f}"


def options_of(row: Row) -> dict[str, str]:
    """Return the overrides by name."""
    return dict(word.split("=", 1) for word in row["overrides"].split())


def group(rows: Sequence[Row]) -> Found:
    """Return the rows by what they are compared with."""
    found: Found = {}
    for row in rows:
        options = options_of(row)
        envs = options.pop("num_envs")
        settings = ", ".join(
            f"{k.removeprefix('learner.')} {v}" for k, v in options.items() if k not in COMMON
        )
        case = Case(row["task"], int(row["steps"]), settings or "as listed")
        found.setdefault(case, {}).setdefault((row["learner"], envs), {})[row["seed"]] = row
    return found


def returns_table(found: Found) -> str:
    """Return the returns after a fifth, a half and all of the steps."""
    lines = [
        "| task, steps; settings | learner | environments | seeds | return at 20 % | at 50 % | at 100 % |"
    ]
    lines.append("|" + "---|" * 7)
    for case, learners in found.items():
        for (learner, envs), rows in learners.items():
            steps = [case.steps // 5, case.steps // 2, case.steps]
            cells = [interval([return_at(row, step + SLACK) for row in rows.values()]) for step in steps]
            name = f"{case.task}, {case.steps:,}; {case.settings}"
            lines.append(f"| {name} | {learner} | {envs} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(found: Found) -> str:
    """Return steps and replayed transitions per CPU second, and their ratio to PFRL's run of the same seed."""
    lines = [
        "| task; settings | learner | environments | environment steps / CPU s | replayed / CPU s | x PFRL |"
    ]
    lines.append("|" + "---|" * 6)
    for case, learners in found.items():
        peers = {seed: cpu_seconds(row) for seed, row in learners.get((PFRL, "1"), {}).items()}
        for (learner, envs), rows in learners.items():
            seconds = {seed: cpu_seconds(row) for seed, row in rows.items()}
            ratios = [peers[seed] / value for seed, value in seconds.items() if seed in peers]
            spread = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
            ratio = f"{statistics.fmean(ratios):.1f}{spread}" if ratios else "-"
            per_second = statistics.fmean(1.0 / value for value in seconds.values())
            share = float(options_of(next(iter(rows.values()))).get("learner.replay_ratio", REPLAY_RATIO))
            replayed = share * (case.steps - LEARNING_STARTS) * per_second
            speed = f"{case.steps * per_second:,.0f} | {replayed:,.0f}"
            lines.append(f"| {case.task}; {case.settings} | {learner} | {envs} | {speed} | {ratio} |")
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> str:
    """Return the whole report."""
    good = [row for row in rows if row["status"] == "ok"]
    bad = [
        f"{row['task']} {row['learner']} seed {row['seed']}: {row['status']}"
        for row in rows
        if row not in good
    ]
    found = group(good)
    about = [f"{name}: {'; '.join(sorted({row[name] for row in rows}))}" for name in ("machine", "versions")]
    return "\n".join(
        [
            "# PFRL 0.4.0's continuous ACER against `learner=paper`\n",
            "`python benchmarks/pfrl_acer.py run`, one thread. Each row of pfrl.csv has its command and revision.\n",
            *(f"- {line}" for line in about),
            f"- runs that failed: {'; '.join(bad) if bad else 'none'}\n",
            "Mean over seeds with Student's 95 % interval:\n",
            returns_table(found),
            "\nCPU seconds are those of the process, evaluation left out; ratio to PFRL's run of the same seed, mean",
            "and range over seeds:\n",
            speed_table(found),
            f"\n## Settings\n\n{SETTINGS}\n## What differs\n\n{DIFFERENCES}",
        ]
    )


def write_report(table: Path) -> None:
    """Print the report and write it beside `table`."""
    text = report(read_rows(table))
    print(text)
    table.with_suffix(".md").write_text(text, encoding="utf-8")
