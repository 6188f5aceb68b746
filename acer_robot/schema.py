"""The typed schema of every option; a docstring under each field gives meaning, unit and the paper's symbol.

The values live in `configs/`. Hydra needs these classes to be mutable while it composes; commands turn them into
plain objects once, and nothing writes to them afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acer_robot.errors import InputError

MISSING: Any = "???"
"""OmegaConf's mark of a value that must be given; spelt out, so that no module below a command imports OmegaConf."""


@dataclass
class TaskConfig:
    """Which task, and how it is driven."""

    suite: str = MISSING
    """Where the task comes from: "gymnasium" or "dm_control"."""
    id: str = MISSING
    """A registered Gymnasium id ("HalfCheetah-v5") or "domain-task" of the dm_control suite ("walker-walk")."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for `gymnasium.make` or for the dm_control task."""
    action_repeat: int = 1
    """Environment steps for which each command is held; steps are counted with it."""
    bounds: dict[str, Any] = field(default_factory=dict)
    """Narrower limits of single joints in actuator units, by joint name: {bthigh: [-0.5, 0.5]}."""
    slew_rate: Any = field(default_factory=dict)
    """How fast commands may change, in actuator units per second: 4 for all joints, {bthigh: 10} for single ones."""
    low_pass_hz: float | None = None
    """Cut-off frequency in Hz of a first-order low-pass over the commands of all joints; null: none."""


@dataclass
class LearnerConfig:
    """ACER for continuous actions (Wang et al. 2017, Algorithm 3) and the documented departures from it."""

    estimator: str = "acer"
    """What estimates policy gradient and values: "acer" (Algorithm 3), or the paper's baselines "tis" (k-step returns,
    truncated product of ratios) and "a3c" (k-step returns, no ratios)."""

    # Returns and truncations
    gamma: float = 0.99
    """Discount gamma per command."""
    c: float = 0.0
    """Truncation c of the importance ratio in the policy gradient (eq. 15); 0: the correction term alone; inf: no
    truncation, no correction."""
    correction: str = "pathwise"
    """Estimate of the bias correction [1 - c/rho']_+ of eq. 15: "score" (score function, the paper), "pathwise" (slope
    of the critic along a' = mean + std * noise) or "none"."""
    trace_lambda: float = 1.0
    """lambda of the Retrace trace lambda * min(1, rho^exponent); 0 gives one-step targets."""
    trace_exponent: float = 1.0
    """Exponent of the ratio in the trace, in units of 1/d (Retrace as first published: d)."""

    # Trust region and average policy
    trust_region: bool = True
    """Whether g is projected (eq. 12)."""
    delta: float = 1.0
    """delta: bound on the first-order rate of KL[average || current] along the step, per state."""
    alpha: float = 0.995
    """alpha: theta_avg <- alpha theta_avg + (1 - alpha) theta after each update."""
    deployed_alpha: float | None = 0.9998
    """Averaging of the policy that is evaluated and exported: min(deployed_alpha, (1 + n) / (10 + n)) after n updates;
    null: it is theta_avg, as in the paper."""

    # Networks
    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Widths of the hidden layers of the actor and of the critic's state trunk."""
    advantage_hidden: int = 128
    """Width of the advantage head over trunk features and action."""
    layer_norm: bool = True
    """Whether each hidden layer is followed by layer normalisation."""
    squash: str = "tanh"
    """How a Gaussian sample becomes a canonical action: "tanh" or "clip" (the paper)."""
    learned_std: bool = True
    """Whether the standard deviation depends on the state; if not it is std_init for ever and phi is the mean alone."""
    std_init: float = 0.5
    """Initial (or fixed) standard deviation of the pre-squash Gaussian, in canonical units."""
    std_min: float = 0.3
    """Lower limit of a learned standard deviation, at first."""
    std_min_final: float | None = 0.1
    """What that limit is annealed to, at a steady rate in log space; null: it stays."""
    std_max: float = 1.0
    """Upper limit of a learned standard deviation."""
    mean_bound: float | None = 4.0
    """Soft bound of the pre-squash mean, bound * tanh(mean / bound); null: none."""
    normalize_observations: bool = True
    """Whether observations are standardised with running statistics, which the policy carries."""

    # Critic
    sdn_samples: int = 5
    """n: actions sampled from the policy for the stochastic dueling network (eq. 13); 0: no dueling, Q~ = V + A."""
    critics: int = 2
    """Number of independent critics whose estimates are combined."""
    pessimism: float = 1.0
    """beta: targets use mean - beta * (max - min) / 2 over the critics; 1 with two critics is their minimum."""
    target_alpha: float = 0.995
    """Averaging of the target critic that the returns use; 0: no target critic, the paper."""

    # Policy gradient beyond the paper
    advantage_scaling: bool = True
    """Whether advantages are divided by a running root mean square, which frees delta of the reward's scale."""
    temperature_init: float = 1.0
    """Initial temperature: the weight of the entropy in g, where advantages have a root mean square of 1."""
    entropy_target: float | None = -1.0
    """Entropy in nats per joint of the squashed action that a temperature is tuned towards; null: no entropy term."""
    entropy_target_final: float | None = -2.0
    """What that entropy is annealed to, at a steady rate; null: it stays."""
    annealing_start: int = 300_000
    """Updates before `std_min` and `entropy_target` begin to move to their final values."""
    annealing_updates: int = 100_000
    """Updates that they take to get there."""

    # Optimisation and replay
    lr: float = 6e-4
    """Learning rate of Adam, for actor, critics and temperature."""
    segment_length: int = 8
    """k: steps of a replayed segment."""
    segments: int = 16
    """Segments in one update."""
    on_policy: bool = False
    """Whether each newly collected segment is used once, in place of replay (A3C)."""
    replay_ratio: float = 128.0
    """Replayed transitions per environment transition (the paper: 4)."""
    poisson: bool = False
    """Whether the number of updates after each step is drawn from a Poisson distribution (the paper) or exact."""
    replay_size: int = 1_000_000
    """Transitions in the replay, over all environments."""
    learning_starts: int = 1_000
    """Transitions collected before the first update."""
    compile: bool | None = None
    """Whether the update is compiled by torch.compile: some 30 s at first, then about twice as fast; it needs a C++
    compiler and Python's headers. On CUDA it is recorded as a CUDA graph instead, which needs nothing. null: on CUDA,
    and in runs of 20,000 updates or more with threads=1 where a compiler is found."""


@dataclass
class WandbConfig:
    """Reports to Weights & Biases."""

    mode: str = "auto"
    """"online", "offline", "disabled", or "auto": what WANDB_MODE or WANDB_DISABLED asks for; without them online where
    an API key is configured, else offline."""
    project: str = "acer_robot"
    """Project that the run is filed under."""


@dataclass
class CheckpointConfig:
    """What a run leaves so that it can go on after it was stopped or killed."""

    replay: bool = True
    """Whether the replay is kept on disk; if not, a resumed run first collects learner.learning_starts transitions."""
    every_minutes: float = 5.0
    """Minutes between checkpoints; each evaluation writes one as well."""
    keep: int = 3
    """How many former checkpoints are kept beside the newest, for the case that it gets damaged."""


@dataclass
class TrainConfig:
    """Options of `acer-train`."""

    task: TaskConfig = field(default_factory=TaskConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    steps: int = 60_000
    """Environment steps to train for, action repeat counted."""
    seed: int = 0
    """Seed of environments, networks and sampling; the same seed gives the same numbers on the same machine."""
    device: str = "cpu"
    """Torch device of the learner and its replay: "cpu", "cuda", "cuda:1"."""
    run_dir: str = MISSING
    """Folder that receives everything the run leaves; must be new or empty."""
    resume: str | None = None
    """Run folder whose run goes on; `steps` is then its new total. "auto": the newest unfinished run beside `run_dir`
    with the same options, or else a new one. null: a new run."""
    init_from: str | None = None
    """Run folder whose networks and observation statistics a new run starts with; null: it starts untrained."""
    num_envs: int = 16
    """Environments stepped together."""
    threads: int = 1
    """Threads that torch may use."""
    eval_every: int = 10_000
    """Environment steps between evaluations."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    log_every: int = 1_000
    """Environment steps between rows of metrics.csv."""
    hand_over: bool = True
    """Whether the run ends with an exported policy, a video and a report; else with its checkpoint alone."""
    video: bool = True
    """Whether an episode of the exported policy is rendered at the end."""


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InputError unless `value` is one of `choices`."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise InputError unless low <= value <= high (which NaN never satisfies)."""
    if not low <= value <= high:
        raise InputError(f"{name}={value!r} is out of range; expected {low:g} <= {name} <= {high:g}")
