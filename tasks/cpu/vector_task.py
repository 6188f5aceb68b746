"""Environments of Gymnasium and dm_control behind the interface of tensors, stepped one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.rate_limit import CommandFilter
from acer_robot.spec import TaskSpec, representable_limits
from acer_robot.tasks.cpu.environment_state import EnvironmentState, StateError
from acer_robot.tasks.interface import StepResult

Array = npt.NDArray[Any]


class OneEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One of a task's environments: holds each command for several steps, and names itself where something fails.

    It drops the infos, which are costly to merge.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], repeat: int, label: str) -> None:
        super().__init__(env)
        self._repeat, self.label = repeat, label
        self._shape = env.observation_space.shape
        self.env_steps = 0
        """Environment steps of the last command."""
        self.total_steps = 0
        """Environment steps so far."""

    def __str__(self) -> str:
        """Name the environment, its seed and how far it is."""
        return f"{self.label} at environment step {self.total_steps:,}"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode.

        Raises:
            TaskError: if the environment raises, or returns an observation of another shape than its space.
        """
        with self._named():
            observation = self.env.reset(seed=seed, options=options)[0]
            self._check_shape(observation)
        return observation, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take up to `repeat` steps, stop at the end of the episode, and sum the rewards.

        Raises:
            TaskError: if the environment raises, or returns what is not an observation of its space, a number and
                two booleans.
        """
        total, self.env_steps = 0.0, 0
        with self._named():
            for _ in range(self._repeat):
                observation, reward, terminated, truncated, _info = self.env.step(action)
                total += float(reward)
                self.env_steps += 1
                self.total_steps += 1
                if terminated or truncated:
                    break
            self._check_shape(observation)
            for flag in (terminated, truncated):
                if not isinstance(flag, bool | np.bool_):
                    raise TypeError(f"{flag!r} says whether the episode ended; expected True or False")
        if terminated or truncated:
            # The reset follows at once, and an environment may reuse the array it returned.
            observation = np.array(observation)
        return observation, total, bool(terminated), bool(truncated), {}

    def _check_shape(self, observation: Array) -> None:
        if np.shape(observation) != self._shape:
            raise ValueError(
                f"the observation has shape {np.shape(observation)}; its space has shape {self._shape}"
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say in which environment something was raised."""
        try:
            yield
        except Exception as error:
            first = " ".join(str(error).split())[:300]
            raise TaskError(f"{self}: {type(error).__name__}: {first}") from error


class CpuTask:
    """B environments of one task in this process, as a `VectorTask` on the CPU. Use `make_task` to make one.

    Where the task has slew rates or a low-pass, commands pass its `CommandFilter`, which starts anew with every
    episode. The filter is then part of the environment: a learner's action is what went in, and the observation
    ends with the last command that came out.
    """

    device = torch.device("cpu")

    def __init__(self, spec: TaskSpec, environments: Sequence[gymnasium.Env[Any, Any]], seed: int) -> None:
        self.spec = spec
        self.num_envs = len(environments)
        # Neighbouring integers would give tasks of neighbouring seeds the same episodes.
        seeds: list[int] = np.random.SeedSequence(seed).generate_state(self.num_envs).tolist()
        self._seeds: list[int | None] | None = [*seeds]
        self._environments = [
            OneEnvironment(env, spec.action_repeat, f"environment {i} of {spec.id} (seed {own})")
            for i, (env, own) in enumerate(zip(environments, seeds, strict=True))
        ]
        makers = [lambda env=env: env for env in self._environments]
        self._vector = SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        if self._vector.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
            raise RuntimeError(
                "the vector environment must reset in the same step: other modes invent transitions"
            )
        space = self._environments[0].action_space
        assert isinstance(space, gymnasium.spaces.Box)
        self._dtype = space.dtype
        low, high = np.asarray(spec.bounds.low), np.asarray(spec.bounds.high)
        self._low, self._high = representable_limits(low, high, self._dtype)
        is_filtered = bool(spec.slew_rate) or spec.low_pass_hz is not None
        self._filter = CommandFilter(spec, self.num_envs) if is_filtered else None
        self._states = [EnvironmentState(env) for env in self._environments]

    def reseed(self, seed: int) -> None:
        """Let the next reset start the random streams anew from `seed`, as in a task that was made with it."""
        self._seeds = [*np.random.SeedSequence(seed).generate_state(self.num_envs).tolist()]

    def reset(self) -> Tensor:
        """Start new episodes in all environments and return their observations [B, n].

        The first call seeds them; later calls continue their random streams.

        Raises:
            TaskError: if an environment raises, or returns an observation of another shape than its space.
            NonFiniteError: if an observation is not finite.
        """
        observations, _ = self._vector.reset(seed=self._seeds)
        self._seeds = None
        if self._filter is not None:
            self._filter.reset()
        observed = self._with_last_command(observations.astype(np.float32))
        self._check_finite("observation", observed)
        return torch.from_numpy(observed)

    def step(self, commands: Tensor) -> StepResult:
        """Apply commands [B, d] in actuator units, each for the action repeat.

        Raises:
            ValueError: if the shape is not [B, d].
            NonFiniteError: if a command is NaN, or an observation or a reward is not finite in float32.
            TaskError: if an environment raises, or returns what cannot be used.
        """
        actions = self._admissible(commands)
        current, rewards, terminated, truncated, infos = self._vector.step(actions)
        ended = terminated | truncated
        successors = current.astype(np.float32)
        for i in np.flatnonzero(ended):
            successors[i] = infos["final_obs"][i]
        next_observations = self._with_last_command(successors)
        if self._filter is not None:
            self._filter.reset(ended)
        observations = self._with_last_command(current.astype(np.float32))
        self._check_finite("observation", next_observations)
        self._check_finite("observation", observations)
        self._check_finite("reward", rewards)
        env_steps = np.array([env.env_steps for env in self._environments], dtype=np.int64)
        arrays = (observations, next_observations, rewards, terminated, truncated, env_steps)
        return StepResult(*map(torch.from_numpy, arrays))

    def state(self) -> dict[str, Any]:
        """Return the state of all environments and of the filter of commands: plain numbers, texts and tensors.

        Raises:
            InputError: naming the environment and its attribute, if one cannot be put into a file.
        """
        states = []
        for env, state in zip(self._environments, self._states, strict=True):
            try:
                states.append(state.read())
            except StateError as error:
                raise InputError(f"{env.label}: {error}") from error
        return {
            "environments": states,
            "filter": self._filter.state() if self._filter is not None else None,
            "seeds": self._seeds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was called, in a task that was made with the same options and seed.

        Raises:
            InputError: if the state does not fit; the task is then of no use any more.
        """
        if len(state["environments"]) != self.num_envs or (state["filter"] is None) != (self._filter is None):
            raise InputError(f"the state is that of another task than {self.num_envs} of {self.spec.id}")
        for env, own, saved in zip(self._environments, self._states, state["environments"], strict=True):
            try:
                own.set(saved)
            except StateError as error:
                raise InputError(f"{env.label}: {error}") from error
        if self._filter is not None:
            self._filter.restore(state["filter"])
        self._seeds = state["seeds"]

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture [H, W, 3] of environment 0, if the task was made with a `render_size`."""
        env = self._environments[0]
        if env.render_mode is None:
            raise RuntimeError("this task was made without a render_size")
        return np.asarray(env.render(), dtype=np.uint8)

    def close(self) -> None:
        """Free all environments."""
        self._vector.close()

    def _with_last_command(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Append what the policy gets beside the task's own observation."""
        if self._filter is None or not self.spec.observes_last_command:
            return observations
        return np.concatenate([observations, self._filter.last.astype(np.float32)], axis=1)

    def _check_finite(self, name: str, values: Array) -> None:
        """Raise NonFiniteError if float32 cannot hold one of `values` [B] or [B, n] as a finite number."""
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32, copy=False)).reshape(self.num_envs, -1)
        if not finite.all():
            i, entry = np.argwhere(~finite)[0]
            which = f"{name} {entry}" if name == "observation" else name
            value = values.reshape(self.num_envs, -1)[i, entry]
            raise NonFiniteError(
                f"{self._environments[i]}: {which} is {value}, which is not finite in float32"
            )

    def _admissible(self, commands: Tensor) -> Array:
        """Clip commands [B, d] to the bounds and filter them; the result has the simulator's number type."""
        expected = (self.num_envs, self.spec.action_size)
        if commands.shape != expected:
            raise ValueError(
                f"commands have shape {tuple(commands.shape)}; expected {expected}: environments, joints"
            )
        clipped = np.clip(commands.numpy().astype(np.float64), self._low, self._high)
        if np.isnan(clipped).any():
            i, joint = np.argwhere(np.isnan(clipped))[0]
            raise NonFiniteError(
                f"{self._environments[i]}: the command of joint {self.spec.bounds.names[joint]!r} is NaN"
            )
        if self._filter is not None:
            clipped = np.clip(self._filter(clipped), self._low, self._high)
        return cast(Array, clipped.astype(self._dtype))
