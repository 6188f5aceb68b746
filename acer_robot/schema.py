"""The typed schema of every option; a docstring under each field gives meaning, unit and the paper's symbol.

The values live in `configs/`. Hydra needs these classes to be mutable while it composes; commands turn them into
plain objects once, and nothing writes to them afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acer_robot.errors import InputError

MISSING: Any = "???"
"""OmegaConf's marker of a value that must be given. We write it out so that only commands import OmegaConf."""


@dataclass
class TaskConfig:
    """The task, and how commands reach it."""

    suite: str = MISSING
    """Where the task comes from: "gymnasium", "dm_control", or "robot": a robot of your own from an MJCF file."""
    id: str = MISSING
    """A registered Gymnasium id ("HalfCheetah-v5"), "domain-task" of the dm_control suite ("walker-walk"), or for
    robots "NAME-velocity" or "NAME-reach"."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for `gymnasium.make` or for the dm_control task; numbers of a robot's task (docs/robots.md)."""
    action_repeat: int = 1
    """Environment steps for which each command is held. Every count of steps includes these repeats."""
    bounds: dict[str, Any] = field(default_factory=dict)
    """Narrower limits of single commands, by joint name: {bthigh: [-0.5, 0.5]}. Limits are in the command's units:
    those of the actuator, or the environment's own where the commands are named action_0, action_1, .."""
    slew_rate: Any = field(default_factory=dict)
    """Largest change of a command, in its units per second: 4 for all joints, {bthigh: 10} for single ones."""
    workers: int = 0
    """Processes that step the environments of training, for slow or crashing simulators; 0: this process."""
    low_pass_hz: float | None = None
    """Cut-off frequency in Hz of a first-order low-pass filter on the commands of all joints; null: no filter."""
    backend: str = "cpu"
    """What simulates: "cpu" steps environments of Gymnasium and dm_control one by one. "batch" runs a tensor task on
    mujoco.batch with `threads` threads. "warp" trains on mujoco_warp and the run's device, and scores on "batch": every
    score is MuJoCo C's. docs/tensor_tasks.md lists the tensor tasks."""
    model: str | None = None
    """The robot, for task=robot: the path of an MJCF file, menagerie:NAME of MuJoCo Menagerie, or pup."""
    actuators: dict[str, Any] = field(default_factory=dict)
    """Actuators of a robot, by regular expressions over whole joint names. {.*_hip: {kp: 30, kd: 0.8, effort: 20,
    scale: 0.4}} makes position targets within 0.4 rad of the home pose, and torques up to 20 N m. Without kp the
    commands are torques. They replace what the file has on these joints; the last expression that matches counts."""
    home: dict[str, Any] = field(default_factory=dict)
    """Home pose of a robot, by regular expressions over joint names: {.*_calf: -1.8}, in rad or m. Other joints keep
    the angle of the file's keyframe, or else of the file."""
    reward: dict[str, Any] = field(default_factory=dict)
    """Weights of the terms of a robot's reward, by name: {effort: 0.1}. docs/robots.md has the terms."""
    velocity: list[float] | None = None
    """The velocity [vx, vy, yaw_rate] that a robot must follow, in m/s and rad/s; null: it is drawn."""
    randomize: dict[str, Any] = field(default_factory=dict)
    """Fields of the model that are drawn anew for each episode, of tensor tasks only: {geom_friction: [0.5, 1.25],
    body_mass: {trunk: [0.9, 1.2]}}. docs/sim_to_real.md lists the fields."""
    noise: dict[str, Any] = field(default_factory=dict)
    """Standard deviation of the noise on each kind of observation, in its unit, of tensor tasks only: {position: 0.02,
    velocity: 0.5}."""
    command_delay: Any = 0
    """Delay of commands in control steps, of tensor tasks only: 2, or [0, 2] to draw it for each episode."""
    push: dict[str, Any] = field(default_factory=dict)
    """Pushes of a robot with a free base: {seconds: 5, speed: 0.5} changes its horizontal velocity by up to 0.5 m/s,
    every 5 s on average."""


@dataclass
class ShownTask:
    """What a command that runs a policy may change of its task."""

    velocity: list[float] | None = None
    """The velocity [vx, vy, yaw_rate] that a robot must follow, in m/s and rad/s; null: as in training."""


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
    """Truncation c of the importance ratio in the policy gradient (eq. 15). With 0 only the correction term remains.
    With inf there is no truncation and no correction."""
    correction: str = "pathwise"
    """Estimate of the bias correction [1 - c/rho']_+ of eq. 15: "score" (score function, the paper), "pathwise" (slope
    of the critic along a' = mean + std * noise) or "none"."""
    trace_lambda: float = 1.0
    """lambda of the Retrace trace lambda * min(1, rho^(trace_exponent / d)) for d joints; 0 gives one-step targets."""
    trace_exponent: float = 1.0
    """Exponent of the ratio in the trace, times d: 1 is ACER's rho^(1/d). Retrace as first published has d."""

    # Trust region and average policy
    trust_region: bool = True
    """Whether the policy gradient g is projected onto the trust region (eq. 12)."""
    delta: float = 1.0
    """delta of eq. 12: limit of k . z in each state. z is the projected g, k the gradient of KL[average || current]."""
    alpha: float = 0.995
    """alpha: theta_avg <- alpha theta_avg + (1 - alpha) theta after each update."""
    deployed_alpha: float | None = 0.9998
    """Decay of the exported policy, an average of its own: min(deployed_alpha, (1 + n) / (10 + n)) after n updates.
    null: theta_avg is evaluated and exported, as in the paper."""

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
    """Whether the standard deviation depends on the state. If false, it stays std_init, and phi is the mean alone."""
    std_init: float = 0.5
    """Initial (or fixed) standard deviation of the pre-squash Gaussian, in canonical units."""
    std_min: float = 0.3
    """Lower limit of a learned standard deviation at the start of training."""
    std_min_final: float | None = 0.1
    """Final value of std_min, which is annealed linearly in log space; null: std_min stays."""
    std_max: float = 1.0
    """Upper limit of a learned standard deviation."""
    mean_bound: float | None = 4.0
    """Soft bound of the pre-squash mean, bound * tanh(mean / bound); null: no bound."""
    normalize_observations: bool = True
    """Whether observations are standardised with running statistics. The exported policy contains the statistics."""

    # Critic
    sdn_samples: int = 5
    """n: actions sampled from the policy for the stochastic dueling network (eq. 13); 0: no dueling, Q~ = V + A."""
    sdn_antithetic: bool = False
    """Whether these actions come in pairs, mean + std * noise and mean - std * noise; n must then be even."""
    critics: int = 2
    """Number of independent critics whose estimates are combined."""
    pessimism: float = 1.0
    """beta: targets use mean - beta * (max - min) / 2 over the critics; 1 with two critics is their minimum."""
    target_alpha: float = 0.995
    """Decay of the target critic, an average that the returns use; 0: no target critic, as in the paper."""

    # Embedding: what the critic reads beside observation and action
    embedding: int = 0
    """Width of the learnt embeddings z = f(x) and e = g(z, a), which critic and target critic read beside x and a; 0:
    none. 64 was tried."""
    embedding_hidden: int = 128
    """Width of the hidden layer of f and of g."""
    embedding_lr: float = 3e-4
    """Learning rate of Adam for f and g, which learn to predict f of the next observation and nothing else."""
    embedding_refresh: int = 250
    """Updates between two refreshes: the critic's copy of f and g becomes the target critic's, and the learnt f and g
    become the critic's. 0: the copies are running averages instead, with target_alpha, moved after each update."""

    # Policy gradient beyond the paper
    advantage_scaling: bool = True
    """Whether advantages are divided by a running root mean square. delta then is independent of the reward's scale."""
    temperature_init: float = 1.0
    """Initial temperature: the weight of the entropy in g. Scaled advantages in g have a root mean square of 1."""
    entropy_target: float | None = -1.0
    """Target for the entropy of the squashed action in nats per joint, at the start. The temperature moves the entropy
    towards it. null: no entropy term."""
    entropy_target_final: float | None = -2.0
    """Final value of entropy_target, which is annealed linearly; null: entropy_target stays."""
    annealing_start: int = 300_000
    """Updates before `std_min` and `entropy_target` begin to move to their final values."""
    annealing_updates: int = 100_000
    """Updates from annealing_start until they reach their final values."""

    # Smoothness of the commands
    smoothness: float = 0.0
    """Weight of the penalty on the change of the policy's deterministic action between neighbouring observations: the
    next one, and one nearby. 0: none."""
    smoothness_noise: float = 0.05
    """Standard deviation of how far the nearby observation is, for each entry of the normalised observation."""

    # Optimisation and replay
    lr: float = 6e-4
    """Learning rate of Adam, for actor, critics and temperature."""
    segment_length: int = 8
    """k: steps of a replayed segment."""
    segments: int = 16
    """Segments in one update."""
    on_policy: bool = False
    """Whether each new segment is used once, instead of replay (A3C)."""
    policy_every: int = 1
    """Updates of the critics to one of the policy and the temperature, which the others leave as they are (TD3: 2)."""
    replay_ratio: float = 128.0
    """Replayed transitions per environment transition (the paper: 4)."""
    poisson: bool = False
    """Whether the number of updates after each step is drawn from a Poisson distribution (the paper). If false, it is
    exact."""
    replay_size: int = 1_000_000
    """Transitions in the replay, over all environments."""
    learning_starts: int = 1_000
    """Transitions collected before the first update."""
    priority_exponent: float = 0.0
    """Exponent of priorities; LAP has 0.4. Segments are drawn in proportion to the mean over their steps of
    max(|Qret - Q~|, 1)^exponent, and the critics have Huber losses of limit 1. 0: segments are drawn uniformly, and the
    losses are half squares."""
    compile: bool | None = None
    """Whether torch.compile compiles the update. The first update then takes some 30 s, later ones about two
    thirds of their time. It needs a C++ compiler and Python's headers. On CUDA the update is recorded as a CUDA graph
    instead, which needs neither. null: true on CUDA, and in runs of 20,000 updates or more with threads=1 if a compiler
    is found."""
    precision: str = "float32"
    """How the update's matrix products are computed on a CPU. "float32": by PyTorch's default, MKL. "onednn": in
    float32 by oneDNN, which is faster on some processors of AMD. "bf16": by oneDNN with inputs rounded to
    bfloat16, on processors with AMX. "auto": "onednn" where it is measured to be faster, else "float32"."""


@dataclass
class WandbConfig:
    """Reports to Weights & Biases."""

    mode: str = "auto"
    """"online", "offline", "disabled" or "auto". "auto" obeys WANDB_DISABLED, WANDB_MODE and `wandb offline`. Without
    them it is "online" where an API key is configured, else "offline"."""
    project: str = "acer_robot"
    """wandb project of the run."""
    entity: str | None = None
    """User or team that owns the project; null: WANDB_ENTITY, else the key's own."""
    group: str | None = None
    """Group of runs that belong together, such as the seeds of one setting; null: WANDB_RUN_GROUP, else none."""
    tags: list[str] = field(default_factory=list)
    """Words to filter runs by; []: WANDB_TAGS, else none."""
    name: str | None = None
    """Name of the run; null: WANDB_NAME, else the name of the run folder."""
    notes: str | None = None
    """What the run is for, in a few words; null: WANDB_NOTES, else none."""
    job_type: str | None = None
    """Kind of the run, such as "train"; null: WANDB_JOB_TYPE, else none."""
    video_every: int = 5
    """Every how many evaluations an episode is rendered and sent, by a process of its own; 0: at the end alone.
    With video=false there is no video at all."""
    histograms: bool = False
    """Whether histograms of actions and advantages are sent with each row of metrics.csv."""


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
class CollectorConfig:
    """Who steps the environments: this process, other processes of this machine, or workers of a Ray cluster."""

    kind: str = "local"
    """"local": this process. "overlapped": workers beside the learner, each a process of this machine with environments
    of its own; evaluations run beside it too. "ray": the same on a Ray cluster (docs/scale.md)."""
    workers: int = 2
    """Number of workers. Each steps num_envs / workers environments. collector=overlapped sets 1."""
    address: str | None = None
    """Ray cluster: "auto", or HOST:PORT of its head. null: Ray is started on this machine, on the loopback alone."""
    synchronous: bool = False
    """Whether the one worker takes each step with the newest weights, as the local collector does; it gives the same
    numbers. It needs collector.workers=1."""
    segment_length: int = 32
    """Steps of each environment that a worker sends at a time."""
    ahead: int = 1
    """Segments that each worker may collect before the learner takes them up. More hide a slow network."""
    max_staleness: int = 100_000
    """Updates that may pass between the weights that acted and the arrival of their segment. The learner waits for the
    slowest worker where more would pass."""
    timeout: float = 120.0
    """Seconds without an answer after which a worker counts as lost."""
    retries: int = 5
    """How often in a row a lost worker is replaced before it is given up. The first replacement starts after 1 s, and
    each further one after twice the time of the one before, up to 60 s."""
    dashboard: bool = False
    """Whether Ray's dashboard is started too, if Ray is started here."""


@dataclass
class TrainConfig:
    """Options of `acer-train`."""

    task: TaskConfig = field(default_factory=TaskConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    collector: CollectorConfig = field(default_factory=CollectorConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    steps: int = 80_000
    """Environment steps to train for, action repeats included."""
    seed: int = 0
    """Seed of environments, networks and sampling; the same seed gives the same numbers on the same machine."""
    device: str = "cpu"
    """Torch device of the learner and its replay: "cpu", "cuda", "cuda:1"."""
    run_dir: str = MISSING
    """Folder that receives everything the run leaves; must be new or empty."""
    sweep_dir: str | None = None
    """Folder of a sweep (-m). Each job has a folder in it that is named by its overrides. The same command again skips
    what is finished and goes on with what was cut."""
    resume: str | None = None
    """Run folder whose run goes on; `steps` is then its new total. "auto": the newest unfinished run beside `run_dir`
    with the same options, or else a new one. null: a new run."""
    init_from: str | None = None
    """Run folder whose networks and observation statistics a new run starts with; null: it starts untrained."""
    on_divergence: str = "stop"
    """What happens when a number is NaN or infinite, or a simulation unstable. "stop": the run ends, and what is needed
    to repeat the moment is in `incidents/` of the run folder. "rollback": it goes on from the last good checkpoint,
    with other random streams."""
    max_rollbacks: int = 3
    """How many times a run goes back with on_divergence=rollback before it stops."""
    on_environment_error: str = "stop"
    """What happens when an environment of training raises, returns what cannot be used, hangs or dies. "stop": the run
    ends with a checkpoint. "rebuild": all environments are made anew and their present episodes are dropped."""
    max_rebuilds: int = 10
    """How many times environments are made anew with on_environment_error=rebuild before the run stops."""
    step_timeout: float = 60.0
    """Seconds that a step of the environments may take. Then a line names the environment that hangs; with
    task.workers it counts as failed, and an evaluation beside training is repeated."""
    num_envs: int = 16
    """Number of environments, which are stepped together."""
    threads: int = 1
    """CPU threads that torch may use, and mujoco.batch with task.backend=batch."""
    eval_every: int = 10_000
    """Environment steps between evaluations."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    eval_online: bool = True
    """Whether an evaluation also scores the current policy. If false, it takes half the time, and eval/return_online is
    NaN."""
    log_every: int = 1_000
    """Environment steps between rows of metrics.csv."""
    tensorboard: bool = False
    """Whether the rows of metrics.csv and eval.csv also go to RUN/tensorboard. It needs the extra tensorboard."""
    hand_over: bool = True
    """Whether the run ends with an exported policy, a video and a report. If false, it leaves only tables and
    checkpoints."""
    video: bool = True
    """Whether an episode of the exported policy is rendered at the end."""


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InputError unless `value` is one of `choices`."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise InputError unless `value` is a number with low <= value <= high (which NaN never satisfies)."""
    if not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(
            f"{name}={value!r} is out of range; expected {_limit(low)} <= {name} <= {_limit(high)}"
        )


def _limit(value: float) -> str:
    """Return a limit as it can be typed: 2147483647 and not 2.14748e+09."""
    return f"{value:.0f}" if value == round(value, 0) and abs(value) < 1e12 else f"{value:g}"
