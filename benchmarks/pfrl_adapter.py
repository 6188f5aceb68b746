"""PFRL 0.4.0's continuous ACER with the settings, networks and tasks of `learner=paper`.

PFRL speaks the old gym interface, needs parameters and optimiser in shared memory, and cannot project a policy of fixed
standard deviation. These three are bridged here; its agent, losses, replay and training loop run as they are.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pfrl
import torch
from pfrl.agents import acer
from pfrl.policies import GaussianHeadWithFixedCovariance
from pfrl.replay_buffers import EpisodicReplayBuffer
from torch import Tensor, nn

from acer_robot.errors import InputError
from acer_robot.experience.episodes import Episodes, run_episodes
from acer_robot.experience.seeds import independent_seeds
from acer_robot.policies.layers import trunk
from acer_robot.run_folder.layout import create_run_dir
from acer_robot.run_folder.tables import CsvTable
from acer_robot.schema import LearnerConfig, TrainConfig
from acer_robot.spec import ActionBounds, FloatArray, to_command
from acer_robot.tasks import VectorTask, command_limits, make_task
from acer_robot.training.timing import Every, Stopwatch

Parts = tuple[Tensor, Tensor, Tensor]
"""Observations [1, n], features of the critic's trunk [1, h], the advantage head's state part [1, w]."""

EXPECTED: dict[str, object] = {
    "correction": "score", "trace_lambda": 1.0, "trace_exponent": 1.0, "squash": "clip",
    "learned_std": False, "mean_bound": None, "normalize_observations": False, "critics": 1, "target_alpha": 0.0,
    "advantage_scaling": False, "entropy_target": None, "segments": 1,
    "poisson": False,
}  # fmt: skip
"""Options of acer_robot that PFRL has no counterpart of, or only this one."""


class OldGym:
    """A Gymnasium environment in the interface that PFRL speaks: one `done`, and `needs_reset` at a time limit."""

    def __init__(self, env: gymnasium.Env[Any, Any], bounds: ActionBounds, seed: int) -> None:
        self._env, self._bounds = env, bounds
        self._seed: int | None = int(seed)  # Gymnasium refuses numpy's integers

    def reset(self) -> npt.NDArray[np.float32]:
        """Start an episode; the first one is seeded."""
        observation, _ = self._env.reset(seed=self._seed)
        self._seed = None
        return np.asarray(observation, dtype=np.float32)

    def step(self, action: FloatArray) -> tuple[npt.NDArray[np.float32], float, bool, dict[str, bool]]:
        """Apply a canonical action, clipped to [-1, 1]; the agent stores it as it was drawn."""
        command = self._bounds.to_command(action).astype(np.float32)
        observation, reward, terminated, truncated, _ = self._env.step(command)
        return (
            np.asarray(observation, dtype=np.float32),
            float(reward),
            bool(terminated),
            {"needs_reset": bool(truncated)},
        )


class CriticParts(nn.Module):
    """What value and advantage head share, computed once for a state as in acer_robot's critic."""

    def __init__(self, options: LearnerConfig, observation_size: int) -> None:
        super().__init__()
        self.trunk = trunk(observation_size, options.hidden, options.layer_norm)
        self.advantage_state = nn.Linear(options.hidden[-1], options.advantage_hidden)

    def forward(self, observations: Tensor) -> Parts:
        """Map observations [1, n] to what the heads need."""
        features = self.trunk(observations)
        return observations, features, self.advantage_state(features)


class Advantage(nn.Module):
    """A(x, a) over the trunk's features and the clipped action."""

    def __init__(self, options: LearnerConfig, action_size: int) -> None:
        super().__init__()
        self.action = nn.Linear(action_size, options.advantage_hidden, bias=False)
        self.out = nn.Linear(options.advantage_hidden, 1)

    def forward(self, state_and_action: tuple[Parts, Tensor]) -> Tensor:
        """Return A [1, 1]."""
        (_, _, from_state), action = state_and_action
        advantage: Tensor = self.out(torch.relu(from_state + self.action(action.clamp(-1.0, 1.0))))
        return advantage


def build_model(options: LearnerConfig, observation_size: int, action_size: int) -> nn.Sequential:
    """Return networks of acer_robot's widths and initial distributions around PFRL's stochastic dueling head."""
    mean = nn.Linear(options.hidden[-1], action_size)
    with torch.no_grad():
        mean.weight.mul_(0.01)
        mean.bias.zero_()
    actor = trunk(observation_size, options.hidden, options.layer_norm)
    head = acer.ACERContinuousActionHead(
        pi=nn.Sequential(
            pfrl.nn.Lambda(lambda parts: parts[0]),
            actor,
            mean,
            GaussianHeadWithFixedCovariance(options.std_init),
        ),
        v=nn.Sequential(pfrl.nn.Lambda(lambda parts: parts[1]), nn.Linear(options.hidden[-1], 1)),
        adv=Advantage(options, action_size),
        n=options.sdn_samples,
    )
    return nn.Sequential(CriticParts(options, observation_size), head)


def shared_adam(model: nn.Module, lr: float) -> torch.optim.Adam:
    """Return Adam with its state made in advance, model and state in shared memory: PFRL asserts it at each update."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes the state; a gradient of zero moves nothing
    model.share_memory()
    for state in optimizer.state.values():
        state["step"].zero_()
        for value in state.values():
            value.share_memory_()
    return optimizer


def mean_alone(distribution: torch.distributions.Independent) -> tuple[Tensor]:
    """Return phi of a Gaussian of fixed std, in place of PFRL's (mean, std): it asserts that both need gradients."""
    return (distribution.base_dist.loc,)


def check_counterparts(config: TrainConfig) -> None:
    """Raise InputError for an option that PFRL has no counterpart of."""
    for name, expected in EXPECTED.items():
        if (value := getattr(config.learner, name)) != expected:
            raise InputError(f"learner.{name}={value!r}: PFRL's ACER has nothing but {expected!r}")
    if config.num_envs != 1 or config.task.action_repeat != 1:
        raise InputError(
            f"num_envs={config.num_envs}, task.action_repeat={config.task.action_repeat}: expected 1"
        )


def build_agent(
    options: LearnerConfig, observation_size: int, action_size: int, buffer: EpisodicReplayBuffer
) -> acer.ACER:
    """Return PFRL's agent with the hyper-parameters in `options`."""
    acer.get_params_of_distribution = mean_alone
    model = build_model(options, observation_size, action_size)
    return acer.ACER(
        model,
        shared_adam(model, options.lr),
        t_max=options.segment_length,
        gamma=options.gamma,
        replay_buffer=buffer,
        beta=0.0,
        pi_loss_coef=1.0,
        Q_loss_coef=1.0,
        use_trust_region=options.trust_region,
        trust_region_alpha=options.alpha,
        trust_region_delta=options.delta,
        truncation_threshold=options.c,
        disable_online_update=True,
        n_times_replay=round(options.replay_ratio),
        replay_start_size=options.learning_starts,
        normalize_loss_by_steps=True,
        act_deterministically=True,
        use_Q_opc=True,
    )


class CountingBuffer(EpisodicReplayBuffer):  # type: ignore[misc]  # pfrl has no types
    """PFRL's replay, which also counts what it gives out."""

    replayed = 0
    """Transitions drawn so far."""

    def sample_episodes(self, n_episodes: int, max_len: int | None = None) -> Iterable[list[dict[str, Any]]]:
        """Draw segments."""
        episodes: list[list[dict[str, Any]]] = super().sample_episodes(n_episodes, max_len)
        self.replayed += sum(len(episode) for episode in episodes)
        return episodes


def evaluate(model: nn.Module, task: VectorTask) -> Episodes:
    """Run one deterministic episode in each of the task's environments."""
    low, high = command_limits(task)

    def act(observations: Tensor) -> Tensor:
        with torch.no_grad():
            distribution, _, _ = model(observations)
        return to_command(distribution.mean, low, high)

    return run_episodes(act, task)


def train_pfrl(config: TrainConfig) -> CountingBuffer:
    """Train with PFRL's own loop, evaluate as `acer-train` does, leave eval.csv in run_dir; return the replay.

    The seconds in eval.csv are CPU seconds of the process, without evaluation.

    Raises:
        InputError: if PFRL has no counterpart of an option.
    """
    check_counterparts(config)
    task = make_task(config.task, config.eval_episodes, independent_seeds(config.seed).evaluation)
    spec, due = task.spec, Every(config.eval_every)
    table = CsvTable(create_run_dir(config) / "eval.csv")
    pfrl.utils.set_random_seed(config.seed)
    buffer = CountingBuffer(config.learner.replay_size)
    agent = build_agent(config.learner, spec.observation_size, spec.action_size, buffer)

    def after_step(_env: OldGym, _agent: acer.ACER, step: int) -> None:
        if due(step) or step >= config.steps:
            with watch.paused():
                average, online = (
                    evaluate(model, task) for model in (agent.shared_average_model, agent.model)
                )
            row = {
                "seconds": watch.seconds,
                "eval/return_mean": float(average.returns.mean()),
                "eval/return_std": float(average.returns.std()),
                "eval/return_online": float(online.returns.mean()),
                "eval/length_mean": float(average.lengths.mean()),
            }
            table.write(step, row)

    watch = Stopwatch(time.process_time)
    env = OldGym(gymnasium.make(config.task.id), spec.bounds, config.seed)
    # A loss of [1, 1] against a scalar makes PyTorch warn at each of PFRL's steps.
    warnings.filterwarnings("ignore", message="Using a target size")
    try:
        with tempfile.TemporaryDirectory() as folder:
            pfrl.experiments.train_agent(agent, env, config.steps, folder, step_hooks=[after_step])
    finally:
        table.close()
        task.close()
    return buffer
