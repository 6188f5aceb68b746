"""The one interface to every task: B environments stepped together, with true successors and resets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from acer_robot.errors import NonFiniteError
from acer_robot.rate_limit import CommandFilter
from acer_robot.spec import FloatArray, TaskSpec, representable_limits
from acer_robot.tasks.interface import StepResult

Array = npt.NDArray[Any]


class RepeatedCommand(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Hold each command for several environment steps, and drop the infos, which are costly to merge."""

    def __init__(self, env: gymnasium.Env[Any, Any], repeat: int) -> None:
        super().__init__(env)
        self._repeat = repeat
        self.env_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode."""
        return self.env.reset(seed=seed, options=options)[0], {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take up to `repeat` steps, stop at the end of the episode, and sum the rewards."""
        total, self.env_steps = 0.0, 0
        for _ in range(self._repeat):
            observation, reward, terminated, truncated, _info = self.env.step(action)
            total += float(reward)
            self.env_steps += 1
            if terminated or truncated:
                break
        if terminated or truncated:
            # The reset follows at once, and an environment may reuse the array it returned.
            observation = np.array(observation)
        return observation, total, bool(terminated), bool(truncated), {}


class VectorTask:
    """B environments of one task. Use `make_task` to make one.

    Commands are in actuator units and are clipped to `spec.bounds` before the simulator sees them. An episode
    that ends is followed at once, within the same step, by the first observation of the next.

    Where the task has slew rates or a low-pass, commands pass its `CommandFilter`, which starts anew with every
    episode. The filter is then part of the environment: a learner's action is what went in, and the last
    command is a state that the policy does not see, unless the task's observation shows it.
    """

    def __init__(self, spec: TaskSpec, environments: Sequence[gymnasium.Env[Any, Any]], seed: int) -> None:
        self.spec = spec
        self.num_envs = len(environments)
        self._environments = [RepeatedCommand(env, spec.action_repeat) for env in environments]
        makers = [lambda env=env: env for env in self._environments]
        self._vector = SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        if self._vector.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
            raise RuntimeError(
                "the vector environment must reset in the same step: other modes invent transitions"
            )
        # Neighbouring integers would give tasks of neighbouring seeds the same episodes.
        self._seeds: list[int | None] | None = (
            np.random.SeedSequence(seed).generate_state(self.num_envs).tolist()
        )
        space = self._environments[0].action_space
        assert isinstance(space, gymnasium.spaces.Box)
        self._dtype = space.dtype
        low, high = np.asarray(spec.bounds.low), np.asarray(spec.bounds.high)
        self._low, self._high = representable_limits(low, high, self._dtype)
        is_filtered = bool(spec.slew_rate) or spec.low_pass_hz is not None
        self._filter = CommandFilter(spec, self.num_envs) if is_filtered else None

    def reset(self) -> npt.NDArray[np.float32]:
        """Start new episodes in all environments and return their observations [B, n].

        The first call seeds them; later calls continue their random streams.
        """
        observations, _ = self._vector.reset(seed=self._seeds)
        self._seeds = None
        if self._filter is not None:
            self._filter.reset()
        return cast(npt.NDArray[np.float32], observations.astype(np.float32))

    def step(self, commands: FloatArray) -> StepResult:
        """Apply commands [B, d] in actuator units, each for the action repeat.

        Raises:
            ValueError: if the shape is not [B, d].
            NonFiniteError: if a command is NaN, or the simulation diverged.
        """
        actions = self._admissible(commands)
        current, rewards, terminated, truncated, infos = self._vector.step(actions)
        if self._filter is not None:
            self._filter.reset(terminated | truncated)
        observations = current.astype(np.float32)
        next_observations = observations.copy()
        for i in np.flatnonzero(terminated | truncated):
            next_observations[i] = infos["final_obs"][i]
        env_steps = np.array([env.env_steps for env in self._environments], dtype=np.int64)
        return StepResult(observations, next_observations, rewards, terminated, truncated, env_steps)

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture [H, W, 3] of environment 0, if the task was made with a `render_size`."""
        env = self._environments[0]
        if env.render_mode is None:
            raise RuntimeError("this task was made without a render_size")
        return np.asarray(env.render(), dtype=np.uint8)

    def close(self) -> None:
        """Free all environments."""
        self._vector.close()

    def _admissible(self, commands: FloatArray) -> Array:
        """Clip commands [B, d] to the bounds and filter them; the result has the simulator's number type."""
        expected = (self.num_envs, self.spec.action_size)
        if commands.shape != expected:
            raise ValueError(
                f"commands have shape {commands.shape}; expected {expected}: environments, joints"
            )
        clipped = np.clip(commands.astype(np.float64), self._low, self._high)
        if np.isnan(clipped).any():
            env, joint = np.argwhere(np.isnan(clipped))[0]
            raise NonFiniteError(
                f"the command of joint {self.spec.bounds.names[joint]!r} in environment {env} is NaN"
            )
        if self._filter is not None:
            clipped = np.clip(self._filter(clipped), self._low, self._high)
        return clipped.astype(self._dtype)
