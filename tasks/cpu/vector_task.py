"""Environments of Gymnasium and dm_control behind the interface of tensors, stepped one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.rate_limit import CommandFilter, is_limited
from acer_robot.spec import TaskSpec, representable_limits
from acer_robot.tasks.cpu.environment_state import EnvironmentState, StateError
from acer_robot.tasks.cpu.inside import INSIDE
from acer_robot.tasks.cpu.probe import simulation_of
from acer_robot.tasks.cpu.stability import FEWEST, SHARE, Stability
from acer_robot.tasks.interface import Measured, StepResult
from acer_robot.tasks.model.measurements import Measurements
from acer_robot.tasks.model.moving_body import moving_body

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

Array = npt.NDArray[Any]
TERM = "reward_"
"""Beginning of the names of a reward's terms in the infos of Gymnasium's environments."""
FLOAT32_MAX = np.finfo(np.float32).max


class OneEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One of a task's environments. It holds each command for several steps, and names itself in errors.

    It drops the infos, because merging them is slow.
    """

    index = 0
    stability: Stability | None = None
    """What counts unstable steps; None after a state of a former version was restored."""

    def __init__(self, env: gymnasium.Env[Any, Any], repeat: int, label: str, index: int = 0) -> None:
        super().__init__(env)
        self.index = index
        self.stability = Stability(env)
        self._repeat, self.label = repeat, label
        self._shape = env.observation_space.shape
        self.env_steps = 0
        """Environment steps of the last command."""
        self.total_steps = 0
        """Environment steps so far."""
        self.measurements: Measurements | None = None
        """What measures the robot after each command, if somebody asked for it."""

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
        if self.stability is None:
            self.stability = Stability(self.env)
        self.stability.begin()
        INSIDE.enter(self)
        try:
            observation = self.env.reset(seed=seed, options=options)[0]
            self._check_shape(observation)
        except Exception as error:
            raise self._named(error) from error
        finally:
            INSIDE.leave()
        return observation, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take up to `repeat` steps, stop at the end of the episode, and sum the rewards.

        Raises:
            TaskError: if the environment raises, or returns what is not an observation of its space, a number and
                two booleans.
        """
        total, self.env_steps, stability, measurements = 0.0, 0, self.stability, self.measurements
        INSIDE.enter(self)
        if measurements is not None:
            measurements.begin()
        try:
            for _ in range(self._repeat):
                # An environment may write to its action, or keep it: each step gets an array of its own.
                observation, reward, terminated, truncated, info = self.env.step(action.copy())
                if measurements is not None:
                    measurements.add(_reward_terms(info))
                total += float(reward)
                if stability is not None:
                    stability.check()
                self.env_steps += 1
                self.total_steps += 1
                if type(terminated) is not bool or type(truncated) is not bool:  # a call per step costs time
                    terminated, truncated = _flag(terminated), _flag(truncated)
                if terminated or truncated:
                    break
            self._check_shape(observation)
        except Exception as error:
            raise self._named(error) from error
        finally:
            INSIDE.leave()
        if measurements is not None:
            measurements.end()
        if terminated or truncated:
            # The reset follows at once, and an environment may write to the same array again.
            observation = np.array(observation)
        return observation, total, terminated, truncated, {}

    def _check_shape(self, observation: Array) -> None:
        if getattr(observation, "shape", None) != self._shape:
            raise ValueError(
                f"the observation has shape {np.shape(observation)}; its space has shape {self._shape}"
            )

    def _named(self, error: Exception) -> TaskError:
        """Say in which environment something was raised."""
        named = TaskError(f"{self}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        named.environment = self.index
        return named


def _float32(values: Array) -> npt.NDArray[np.float32]:
    """Return a float32 copy. What is too large for float32 becomes infinite, and is refused afterwards."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _flag(given: Any) -> bool:  # noqa: ANN401 - whatever an environment returns
    """Return a flag of `step` as a bool. It may be a whole number or an array of one value, as in the probe.

    Raises:
        TypeError: if it is anything else.
    """
    if isinstance(given, bool | np.bool_):
        return bool(given)
    value = np.asarray(given)
    if value.dtype.kind not in "iub" or value.size != 1:
        raise TypeError(f"{given!r} says whether the episode ended; expected True or False")
    return bool(value.item())


class CpuTask:
    """B environments of one task in this process, as a `VectorTask` on the CPU. Use `make_task` to make one.

    Where the task has slew rates or a low-pass, commands pass through a `CommandFilter`, which is reset with every
    episode. The filter is then part of the environment: the learner's action is the filter's input, and the
    observation ends with the filter's last output.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        spec: TaskSpec,
        environments: Sequence[gymnasium.Env[Any, Any]],
        seed: int,
        part: tuple[int, int] | None = None,
    ) -> None:
        """Take environments that were made alike.

        Args:
            spec: what was measured of the task.
            environments: one for each B.
            seed: of all random streams.
            part: number of the first environment, and how many there are in all, where the others are elsewhere.
        """
        self.spec = spec
        self.num_envs = len(environments)
        self._first, self._total = part if part is not None else (0, self.num_envs)
        seeds = self._seeds_from(seed)
        self._seeds: list[int | None] | None = [*seeds]
        self._environments = [
            OneEnvironment(env, spec.action_repeat, f"environment {i} of {spec.id} (seed {own})", i)
            for i, (env, own) in enumerate(zip(environments, seeds, strict=True), self._first)
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
        limited = is_limited(spec.slew_rate, spec.low_pass_hz)
        self._filter = CommandFilter(spec, self.num_envs) if limited else None
        self._states = [EnvironmentState(env) for env in self._environments]
        self._unstable_before = 0

    def reseed(self, seed: int) -> None:
        """Let the next reset start the random streams anew from `seed`, as in a task that was made with it."""
        self._seeds = [*self._seeds_from(seed)]

    def _seeds_from(self, seed: int) -> list[int]:
        """Return a seed for each environment; neighbouring integers would give neighbouring tasks the same episodes."""
        seeds: list[int] = np.random.SeedSequence(seed).generate_state(self._total).tolist()
        return seeds[self._first : self._first + self.num_envs]

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
        observed = self._with_last_command(_float32(observations))
        self._check_finite("observation", observed)
        return torch.from_numpy(observed)

    def step(self, commands: Tensor) -> StepResult:
        """Apply commands [B, d] in the units of `spec.bounds`, each for the action repeat.

        Raises:
            ValueError: if the shape is not [B, d].
            NonFiniteError: if a command is NaN, or an observation or a reward is not finite in float32.
            TaskError: if an environment raises, or returns what cannot be used.
        """
        actions = self._admissible(commands)
        current, rewards, terminated, truncated, infos = self._vector.step(actions)
        ended = terminated | truncated
        any_ended = bool(ended.any())
        successors = _float32(current)
        for i in np.flatnonzero(ended):
            successors[i] = _float32(infos["final_obs"][i])
        next_observations = self._with_last_command(successors)
        if self._filter is not None:
            self._filter.reset(ended)
        self._check_finite("observation", next_observations)
        if any_ended:
            observations = self._with_last_command(_float32(current))
            self._check_finite("observation", observations)
        else:
            observations = next_observations.copy()
        self._check_finite("reward", rewards)
        env_steps = np.array([env.env_steps for env in self._environments], dtype=np.int64)
        if self.unstable_steps != self._unstable_before:
            self._report_unstable()
        arrays = (observations, next_observations, rewards, terminated, truncated, env_steps)
        return StepResult(*map(torch.from_numpy, arrays))

    @property
    def unstable_steps(self) -> int:
        """Environment steps so far after which MuJoCo found its simulation unstable."""
        return sum(env.stability.steps for env in self._environments if env.stability is not None)

    def _report_unstable(self) -> None:
        """Say that an environment became unstable, the first time; refuse a task that does so again and again.

        Raises:
            NonFiniteError: if more than SHARE of its steps were unstable.
        """
        counts = [env.stability.steps if env.stability is not None else 0 for env in self._environments]
        worst, unstable = int(np.argmax(counts)), sum(counts)
        env, total = self._environments[worst], sum(env.total_steps for env in self._environments)
        reason = env.stability.reason if env.stability is not None else ""
        if self._unstable_before == 0:
            print(
                f"{env}: MuJoCo's simulation became unstable: {reason}; it is reset and goes on", flush=True
            )
        self._unstable_before = unstable
        if unstable > max(FEWEST, SHARE * total):
            error = NonFiniteError(
                f"{env}: MuJoCo's simulation is unstable: {unstable} of {total:,} steps had {reason}, after which "
                "MuJoCo resets the state; lower the model's timestep, or the gear and gains of its actuators"
            )
            error.environment = env.index
            raise error

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

    def simulation(self) -> tuple[MjModel, MjData] | None:
        """Return model and state of environment 0's MuJoCo simulation; None: it has none."""
        return simulation_of(self._environments[0])

    def position(self) -> Array | None:
        """Return the centre of mass [3] in metres of environment 0's robot; None: it has none that can move away."""
        simulation = self.simulation()
        body = None if simulation is None else moving_body(simulation[0])
        return None if simulation is None or body is None else np.array(simulation[1].subtree_com[body])

    def add_velocity(self, change: Array) -> None:
        """Change the velocities [nv] of environment 0's MuJoCo simulation at once, as a push does."""
        simulation = self.simulation()
        assert simulation is not None
        simulation[1].qvel[:] += change

    def numbers(self) -> dict[str, float]:
        """Return nothing: these tasks have no numbers of their own."""
        return {}

    def measure(self, count: int) -> Callable[[], list[Measured]]:
        """Measure the first `count` environments from now on; what is returned tells what the last command did."""
        measuring = [Measurements(simulation_of(env)) for env in self._environments[:count]]
        for env, measurements in zip(self._environments, measuring, strict=False):
            env.measurements = measurements
        return lambda: [measurements.latest for measurements in measuring]

    def close(self) -> None:
        """Free all environments. One that raises then is named, and harms nobody any more."""
        for env in self._environments:
            try:
                env.close()
            except Exception as error:  # noqa: BLE001 (an environment may raise anything)
                print(f"{env}: close() raised {type(error).__name__}: {error}", file=sys.stderr)

    def _with_last_command(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Append the last command where the policy observes it."""
        if self._filter is None or not self.spec.observes_last_command:
            return observations
        return np.concatenate([observations, self._filter.last.astype(np.float32)], axis=1)

    def _check_finite(self, name: str, values: Array) -> None:
        """Raise NonFiniteError if float32 cannot hold one of `values` [B] or [B, n] as a finite number."""
        finite = np.abs(values) <= FLOAT32_MAX  # false for NaN
        if not finite.all():
            i, entry = np.argwhere(~finite.reshape(self.num_envs, -1))[0]
            which = f"{name} {entry}" if name == "observation" else name
            value = values.reshape(self.num_envs, -1)[i, entry]
            error = NonFiniteError(
                f"{self._environments[i]}: {which} is {value}, which is not finite in float32"
            )
            error.environment = self._environments[i].index
            raise error

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
        return clipped.astype(self._dtype)


def _reward_terms(info: Mapping[str, Any]) -> dict[str, float]:
    """Return the terms of the reward that an environment tells."""
    return {
        name: float(value)
        for name, value in info.items()
        if name.startswith(TERM) and isinstance(value, int | float | np.number)
    }
