"""The report of benchmarks/pfrl_acer.py: returns at equal steps, speed per CPU second, and what differs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from results_table import Row, decode_curve, read_rows
from runs import ROOT
from scipy import stats

TABLE = ROOT / "benchmarks" / "results" / "pfrl.csv"
PFRL, OURS = "pfrl", "paper"
REPLAY_RATIO, LEARNING_STARTS = 4, 1_000
"""Of both, as tests/test_pfrl.py counts it: what a row of `steps` replays is 4 (steps - 1000)."""
Contender = tuple[str, str, str]
"""Task, learner, number of environments."""

SETTINGS = """\
| setting | `learner=paper` | PFRL |
|---|---|---|
| discount gamma | `gamma: 0.99` | `gamma=0.99` |
| truncation c | `c: 5` | `truncation_threshold=5` |
| trust region delta | `delta: 1` | `use_trust_region=True, trust_region_delta=1` |
| average policy alpha | `alpha: 0.995` | `trust_region_alpha=0.995` |
| return in the policy gradient | `advantage_return: qopc` | `use_Q_opc=True` |
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
| replay | `replay_size: 5000` per environment | `EpisodicReplayBuffer(5000)` |
| first update after | `learning_starts: 1000` | `replay_start_size=1000` |
| loss | mean over states of 1/2 (Qret - Q)^2 + 1/2 (Vtarget - V)^2 | `Q_loss_coef=1`, by steps |
| optimiser | Adam 3e-4, fused | Adam 3e-4, fused |
| evaluation | average policy, mean action, 10 episodes | the same code |
"""
DIFFERENCES = """\
1. PFRL replays finished episodes only, and draws the episode before the segment; ours replays every stored step and
   lets segments cross episode ends.
2. PFRL updates four times at each 50th step; ours spreads the same number of updates evenly.
3. PFRL draws new SDN samples for each action that it evaluates; ours draws one set for a state.
4. PFRL's fixed std fails an assertion of its trust region, which asks a gradient of it. `get_params_of_distribution`
   is replaced by one that returns the mean alone, which is also the paper's phi here. Nothing else of PFRL is changed.
5. With 16 environments ours plays 16 episodes side by side, each with 5,000 steps of replay, and updates as often per
   environment step as with one.
"""


def cpu_seconds(row: Row) -> float:
    """Return CPU seconds of the whole run."""
    return decode_curve(row["curve"])[-1].seconds


def return_at(row: Row, step: int) -> float:
    """Return the mean return of the last evaluation up to `step`."""
    return [point.value for point in decode_curve(row["curve"]) if point.step <= step][-1]


def interval(values: Sequence[float]) -> str:
    """Return the mean with Student's 95 % interval over seeds; a single seed has none."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:,.0f} (one seed)"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:,.0f} ± {half:,.0f}"


def contenders(rows: Sequence[Row]) -> dict[Contender, dict[str, Row]]:
    """Return the rows of each contender by seed, those of one length (the longest there is) only."""
    longest = {row["task"]: max(int(r["steps"]) for r in rows if r["task"] == row["task"]) for row in rows}
    found: dict[Contender, dict[str, Row]] = {}
    for row in rows:
        if int(row["steps"]) == longest[row["task"]]:
            envs = dict(word.split("=") for word in row["overrides"].split())["num_envs"]
            found.setdefault((row["task"], row["learner"], envs), {})[row["seed"]] = row
    return found


def returns_table(found: dict[Contender, dict[str, Row]]) -> str:
    """Return the returns after a quarter, half and all of the steps."""
    lines = ["| task | learner | environments | seeds | return at 25 % | at 50 % | at 100 % of the steps |"]
    lines.append("|" + "---|" * 7)
    for (task, learner, envs), rows in found.items():
        steps = int(next(iter(rows.values()))["steps"])
        cells = [interval([return_at(row, steps * part // 4) for row in rows.values()]) for part in (1, 2, 4)]
        lines.append(f"| {task}, {steps:,} steps | {learner} | {envs} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(found: dict[Contender, dict[str, Row]]) -> str:
    """Return steps and replayed transitions per CPU second, and their ratio to PFRL's run of the same seed."""
    lines = [
        "| task | learner | environments | environment steps / CPU s | replayed transitions / CPU s | x PFRL |"
    ]
    lines.append("|" + "---|" * 6)
    for (task, learner, envs), rows in found.items():
        steps = int(next(iter(rows.values()))["steps"])
        seconds = {seed: cpu_seconds(row) for seed, row in rows.items()}
        peers = found.get((task, PFRL, "1"), {})
        ratios = [cpu_seconds(peers[seed]) / value for seed, value in seconds.items() if seed in peers]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}" if ratios else "-"
        ratio = f"{statistics.fmean(ratios):.1f} ({spread})" if ratios else "-"
        per_second = statistics.fmean(1.0 / value for value in seconds.values())
        replayed = REPLAY_RATIO * (steps - LEARNING_STARTS)
        lines.append(
            f"| {task} | {learner} | {envs} | {steps * per_second:,.0f} | {replayed * per_second:,.0f} | {ratio} |"
        )
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> str:
    """Return the whole report."""
    good = [row for row in rows if row["status"] == "ok"]
    bad = [
        f"{row['task']} {row['learner']} seed {row['seed']}: {row['status']}"
        for row in rows
        if row not in good
    ]
    found = contenders(good)
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
