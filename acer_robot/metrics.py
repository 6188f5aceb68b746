"""Every logged number: its name, its formula and its healthy range. `python -m acer_robot.metrics` prints the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """What a logged number is, and what it looks like in a run that learns."""

    formula: str
    healthy: str
    """The range of a healthy run, what a value outside means, and what to do."""


ROLLOUT = {
    "rollout/ep_return": Metric(
        "mean return of the last 20 training episodes, with exploration noise",
        "rises over the run. It is mostly below eval/return_mean, because the actions are noisy. NaN until "
        "the first episode ends. Flat from the start: look at acer/std and acer/advantage_scale",
    ),
    "rollout/outliers": Metric(
        "values of observations in training so far that were more than 1,000 standard deviations from their mean, and "
        "at least 100 away",
        "0. Above: a sensor spikes, and the run's output names it. The running statistics clip such a value to "
        "that limit",
    ),
    "rollout/unstable_steps": Metric(
        "environment steps of training so far after which MuJoCo warned of bad positions, velocities or accelerations",
        "0. Above: MuJoCo reset the state in the middle of an episode. Lower the model's timestep, or the gear and "
        "gains of its actuators. Above 10, and above 1 % of the steps, the run stops",
    ),
    "rollout/rebuilds": Metric(
        "how often so far the environments were made anew because one failed; see on_environment_error",
        "0. Above: the run's output names the environment, and error.txt has its traceback",
    ),
    "time/seconds": Metric(
        "seconds of training so far, evaluations not counted",
        "rises steadily",
    ),
    "time/sps": Metric(
        "environment steps per second of training",
        "constant after start-up and compilation. It is a mean since the start, so it rises at first. A later "
        "fall means a busy machine: check threads and what else runs",
    ),
    "time/updates": Metric(
        "updates of the learner so far",
        "rises by learner.replay_ratio / (learner.segments * learner.segment_length) per transition after "
        "learner.learning_starts; with learner.on_policy by 1 / (learner.segments * learner.segment_length) from the "
        "first segment on. Any other slope is a bug: report it",
    ),
}
"""Numbers of metrics.csv that do not come from the learner."""

COLLECT = {
    "collect/staleness_updates": Metric(
        "most updates between the weights that acted and the arrival of their segment, since the last row; NaN if none "
        "arrived",
        "0 to collector.max_staleness. It rises with collector.workers and collector.segment_length. Near the limit: "
        "the learner waits for the slowest worker",
    ),
    "collect/staleness_mean": Metric(
        "mean updates between the weights that acted and the arrival of their segment, since the last row",
        "0 to collect/staleness_updates",
    ),
    "collect/bytes_per_transition": Metric(
        "bytes of a segment's arrays for each of its transitions, since the last row",
        "constant: 4 bytes for each number of an observation twice, an action three times, and three more",
    ),
    "collect/workers": Metric(
        "workers that collect",
        "collector.workers. Below: workers were lost, and the printed lines say why",
    ),
    "collect/lost": Metric("workers that were lost so far", "0. Above: the printed lines say why"),
    "collect/dropped": Metric(
        "segments that arrived and were not stored so far: of a worker that was replaced, out of order, or torn",
        "0. Above: the printed lines say why",
    ),
}
"""Numbers of metrics.csv with collector=ray or overlapped."""

TASK = {
    "reward/TERM": Metric(
        "mean of this term of the reward over worlds and steps since the row before; for task.backend=batch and warp",
        "the terms sum up to the mean reward of a step. A penalty much larger than what it is set against: lower its "
        "weight",
    ),
    "task/failed_worlds": Metric(
        "worlds that became unstable so far; for task.backend=batch and warp. Each starts anew, and the step that "
        "failed is not stored",
        "0, or a few in a long run. It rises in every row: give the model a smaller timestep, or narrower task.bounds",
    ),
    "task/overflows": Metric(
        "worlds that had no room for a contact or a constraint so far, counted once an episode; for task.backend=warp, "
        "0 for batch",
        "0. Above: contacts were left out, so raise max_contacts and max_constraints of the task",
    ),
}
"""Numbers of metrics.csv that tensor tasks have besides. TERM is the name that the task gives to a term."""

EMBEDDING = {
    "loss/embedding": Metric(
        "mean of (g(f(x), a) - f(x'))^2 over replayed transitions; NaN with learner.embedding=0",
        "above 0, and a third of embedding/unchanged or less. Near embedding/unchanged for long: f keeps what hardly "
        "changes from step to step and drops the movement, as on fish-swim, so set learner.embedding=0",
    ),
    "embedding/unchanged": Metric(
        "mean of (f(x) - f(x'))^2, the loss of a prediction that nothing changes; NaN with learner.embedding=0",
        "above 0, and smaller the shorter a control step is. Falls towards 0 together with embedding/std: f has "
        "collapsed to a constant, so set learner.embedding=0",
    ),
    "embedding/std": Metric(
        "standard deviation of f(x) over replayed states, averaged over its entries; NaN with learner.embedding=0",
        "0.4 to 2, since f(x) has a mean absolute value of 1. Near 0: f has collapsed to a constant, so set "
        "learner.embedding=0",
    ),
}
"""Numbers of metrics.csv that describe the embedding at the last update; NaN where there is none."""

LEARNER = {
    "loss/q": Metric(
        "mean of 1/2 (Qret - Q~)^2, summed over critics; with learner.priority_exponent |Qret - Q~| - 1/2 where that "
        "error is above 1",
        "about 0.1 times the square of acer/advantage_scale, with spikes to 2 times that square. Above the "
        "spikes for many rows: the critic diverges, so lower learner.lr. With learner.priority_exponent: below "
        "learner.critics times loss/error",
    ),
    "loss/v": Metric(
        "mean of 1/2 (V_target - V)^2, summed over critics; with learner.priority_exponent as loss/q",
        "0 to loss/q for learner.estimator=acer, because V's error is Q's error times min(1, rho) <= 1. Above "
        "loss/q: this is a bug, report it",
    ),
    "loss/error": Metric(
        "mean over the batch of |Qret - Q~| in units of reward, of the critic that is further off; 0 for "
        "learner.estimator=tis and a3c",
        "below acer/advantage_scale. With learner.priority_exponent it should be above 1; below 1 segments are drawn "
        "nearly uniformly, and the option has no use",
    ),
    "acer/rho_median": Metric(
        "median of rho = pi(a|x) / mu(a|x) over replayed states",
        "2e-9, the clamp e^-20, or above. It is small on old data: 2e-9 to 0.6 in default runs with six joints; "
        "at 2e-9 at least half of the states lie at the clamp. Near 1 for the whole "
        "run: the policy does not change. Well above 1: the policy concentrates on replayed actions, so look "
        "at acer/std",
    ),
    "acer/trace_mean": Metric(
        "mean of the trace lambda min(1, rho^(1/d)). For learner.estimator=tis or a3c: mean weight of a state",
        "0 to 1 (0 to learner.c for tis); 0.13 to 0.9 in default runs. Ratios are clamped, so it is at least "
        "lambda e^(-20/d), 0.04 with six joints. Near that: returns look hardly further than one step, because the "
        "replayed actions are far from the policy. Lower learner.replay_size or learner.lr",
    ),
    "acer/correction_active": Metric(
        "share of states with rho' > c",
        "0 to 1; always 1 with the default learner.c=0. With learner.c > 1, near 1 means that the replayed "
        "actions are far from the policy: lower learner.lr or learner.replay_size",
    ),
    "acer/trust_region_active": Metric(
        "share of states where the projection changed g",
        "0 to 1; 0 to 0.05 after the first updates of a default run. Near 1 for long: the constraint decides "
        "most updates, so raise learner.delta. 0 for the whole run: learner.delta has no effect, so lower it "
        "if the return falls suddenly",
    ),
    "acer/kl_to_average": Metric(
        "mean of KL[average || current] in nats",
        "at least 0; 0.02 to 2.5 in default runs. Far above that: the current policy is far from the average "
        "policy, so lower learner.lr or learner.delta. Near 0 for long: the policy does not change",
    ),
    "acer/std": Metric(
        "mean of the pre-squash standard deviation",
        "between learner.std_min (later learner.std_min_final) and learner.std_max. Without "
        "learner.learned_std it is learner.std_init. At the upper limit for long: the policy learns nothing, "
        "so look at acer/advantage_scale. At the lower limit early: exploration ends too soon, so raise "
        "learner.entropy_target",
    ),
    "acer/entropy": Metric(
        "mean entropy of the squashed action, nats per joint; with learner.squash=clip that of the Gaussian itself",
        "at most ln 2 = 0.69 with learner.squash=tanh; within about 0.5 of learner.entropy_target once the "
        "temperature has settled. Outside for long: look at acer/temperature",
    ),
    "acer/temperature": Metric(
        "weight of the entropy in g",
        "above 0. In default runs it falls from learner.temperature_init to between 0.005 and 0.03 and stays "
        "in that order of magnitude. A rise above 1: the entropy target keeps the policy too wide, so lower "
        "learner.entropy_target. Constant: learner.entropy_target is null",
    ),
    "acer/advantage_scale": Metric(
        "running root mean square of Qopc - V, in units of reward",
        "above 0; 1.4 to 13 in default runs. It is proportional to the task's rewards. Near 0: the reward "
        "carries no signal, so look at the task. A steady rise while the return is flat: the critic "
        "diverges, so lower learner.lr",
    ),
    "acer/v_mean": Metric(
        "mean of V(x) over replayed states",
        "between the smallest and the largest reward of a step, each divided by 1 - gamma. Outside: the "
        "values diverge, so raise learner.pessimism or lower learner.lr",
    ),
    "grad/norm_policy": Metric(
        "Euclidean norm of the actor's gradient",
        "above 0; 0.08 to 5 in default runs, largest at the start. 0: no state has a gradient. A rise by "
        "orders of magnitude: lower learner.lr",
    ),
    "grad/norm_critic": Metric(
        "Euclidean norm of the critics' gradient",
        "above 0; 7 to 170 times the square root of loss/q in default runs. A rise by orders of magnitude "
        "while loss/q is constant: lower learner.lr",
    ),
    **EMBEDDING,
}
"""Numbers of metrics.csv that describe the last update; `summarise` returns exactly these."""

EVALUATION = {
    "seconds": Metric(
        "seconds of training at the evaluation, evaluations not counted",
        "rises steadily",
    ),
    "eval/return_mean": Metric(
        "mean return of the exported policy, deterministic, over the episodes of an evaluation",
        "rises over the run. A lasting fall below its highest value: export with acer-export checkpoint=best",
    ),
    "eval/return_std": Metric(
        "standard deviation of those returns over the episodes",
        "at least 0. In a default run it is 35 % of the mean at the first evaluation and 1 to 2 % late. As "
        "large as the mean: some episodes fail, so use more eval_episodes before you compare runs",
    ),
    "eval/return_online": Metric(
        "mean return of the current policy, deterministic, over the same number of episodes",
        "near eval/return_mean, and noisier. Far above it for long: the exported policy lags behind, so lower "
        "learner.deployed_alpha",
    ),
    "eval/length_mean": Metric(
        "mean length of the exported policy's episodes in environment steps",
        "1 to the time limit. Where a longer episode is better, it should reach the time limit. Short: the "
        "robot falls, so look at the video",
    ),
}
"""Numbers of eval.csv."""

ROBOT = {
    "share at the limit": Metric(
        "share of a joint's commands within 1 % of its range from a bound",
        "0 to 0.2. Above: the joint is driven from stop to stop, so widen its bounds (task.bounds) where the "
        "robot allows it, or raise learner.entropy_target",
    ),
    "change per second": Metric(
        "mean of |change of the command|, divided by the joint's range, a second",
        "0 to 3 ranges a second. Above: motors heat, gears wear and the robot may not follow, so limit the "
        "commands with task.slew_rate or task.low_pass_hz and train again",
    ),
    "fast share": Metric(
        "share of the power of a joint's commands above a quarter of the control rate; the mean command is left out",
        "0 to 0.3. Above: the command trembles from step to step, so set task.low_pass_hz and train again",
    ),
    "out of range": Metric(
        "share of an observation's values more than 3 standard deviations from its mean in training",
        "0 to 0.05. Above: the policy acts on what it has rarely seen in training, so look at that sensor, and "
        "train for longer",
    ),
    "ground contact": Metric(
        "share of the commands after which a foot touches what does not move",
        "0.02 to 0.98 of a robot that walks or runs. 0: the foot is never used. 1: it drags; look at the video "
        "and at the terms of the reward",
    ),
}
"""Numbers of the report about the robot, from export/episodes.npz; each has a row a joint or an observation."""

ADDED = frozenset(
    {"rollout/outliers", "rollout/unstable_steps", "rollout/rebuilds", "loss/error", *EMBEDDING}
)
"""Numbers that tables of former versions lack; a run that goes on there leaves them out."""

METRICS = ROLLOUT | TASK | LEARNER | EVALUATION | COLLECT

Range = tuple[float, float]


def metric(name: str) -> Metric | None:
    """Return what a logged number is; None for one of another version. Each term of a reward has a name of its own."""
    return METRICS.get("reward/TERM" if name.startswith("reward/") else name)


HEALTHY: dict[str, Range] = {
    "acer/rho_median": (-math.inf, 2.0),
    "acer/trace_mean": (0.02, math.inf),
    "acer/trust_region_active": (0.0, 0.9),
    "acer/kl_to_average": (1e-4, 25.0),
    "acer/temperature": (1e-4, 1.0),
    "acer/advantage_scale": (1e-6, math.inf),
    "grad/norm_policy": (1e-8, 1e3),
    "grad/norm_critic": (1e-8, 1e5),
    "share at the limit": (0.0, 0.2),
    "change per second": (0.0, 3.0),
    "fast share": (0.0, 0.3),
    "out of range": (0.0, 0.05),
    "ground contact": (0.02, 0.98),
}
"""Ranges outside of which a run looks sick, or a robot is at risk. They are wide: a default run never leaves them."""


def healthy_range(name: str, learner: Mapping[str, Any], levels: Mapping[str, float]) -> Range:
    """Return the range outside of which a number at the end of a run looks sick; without limits where none is known.

    Args:
        name: of a metric, or of a number in ROBOT.
        learner: the options of the learner; what is missing sets no limit.
        levels: what the other numbers of the run are, by name.
    """
    low, high = HEALTHY.get(name, (-math.inf, math.inf))
    if name == "loss/q":
        high = 2.0 * levels.get("acer/advantage_scale", math.inf) ** 2
    elif name == "loss/v" and learner.get("estimator", "acer") == "acer":
        high = 1.01 * levels.get("loss/q", math.inf)
    elif name == "acer/trace_mean" and not _number(learner.get("trace_lambda"), 1.0):
        low = -math.inf
    elif name == "acer/std" and learner.get("learned_std", True):
        low = 1.01 * min(_number(learner.get(key), math.inf) for key in ("std_min", "std_min_final"))
        low = low if math.isfinite(low) else -math.inf
        high = 0.99 * _number(learner.get("std_max"), math.inf)
    elif name == "acer/entropy":
        targets = [_number(learner.get(key), math.inf) for key in ("entropy_target", "entropy_target_final")]
        low = min(targets) - 1.0 if math.isfinite(min(targets)) else -math.inf
    elif name == "acer/v_mean":
        high = _largest_value(learner, levels)
        low = -high
    return low, high


def is_never_zero(name: str, learner: Mapping[str, Any]) -> bool:
    """Whether a number that is 0 for a whole run shows that a part of the algorithm has no effect."""
    return name == "acer/trust_region_active" and bool(learner.get("trust_region", True))


def _largest_value(learner: Mapping[str, Any], levels: Mapping[str, float]) -> float:
    """Return ten times the value of a state that earns for ever what the evaluations earn an environment step."""
    best, length = levels.get("eval/return_mean", math.nan), levels.get("eval/length_mean", math.nan)
    gamma = _number(learner.get("gamma"), math.nan)
    largest = (
        10.0 * max(abs(best) / length, 0.1) / (1.0 - gamma) if length > 0.0 and gamma < 1.0 else math.nan
    )
    return largest if math.isfinite(largest) else math.inf


def _number(value: object, otherwise: float) -> float:
    """Return a number of a config, or `otherwise` for null and for what is none."""
    return float(value) if isinstance(value, int | float) else otherwise


def table() -> str:
    """Return docs/metrics.md: one row a number, for metrics.csv and for eval.csv."""
    lines = [
        "# Metrics",
        "",
        "`python -m acer_robot.metrics > docs/metrics.md` writes this page.",
        "",
        "Every row of metrics.csv and eval.csv begins with `step`, the environment steps so far (action",
        "repeat counted). Weights & Biases gets the same numbers under the same names. A NaN or an infinity",
        "in a number of the learner stops the run. We saw the ranges of *default runs* in two runs of a",
        "former default, with plain critics, on HalfCheetah-v5 (16,000 and 60,000 environment steps).",
        "Another task may have other ranges. A range that names an option or a bound follows from the",
        "mathematics and holds for every task.",
    ]
    for title, metrics in (
        ("metrics.csv", ROLLOUT | TASK | LEARNER),
        ("metrics.csv with collector=ray or overlapped", COLLECT),
        ("eval.csv", EVALUATION),
    ):
        lines += ["", f"## {title}", ""]
        lines += ["| name | formula | healthy, and what a value outside means |", "|---|---|---|"]
        for name, metric in metrics.items():
            cells = map(_cell, (metric.formula, metric.healthy))
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines += ["", "## The robot in report.html", ""]
    lines += ["These numbers describe the exported file's recorded episodes, export/episodes.npz.", ""]
    lines += ["| name | formula | healthy, and what a value outside means |", "|---|---|---|"]
    lines += [
        f"| {name} | {_cell(metric.formula)} | {_cell(metric.healthy)} |" for name, metric in ROBOT.items()
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    print(table(), end="")
