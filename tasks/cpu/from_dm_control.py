"""The dm_control suite as Gymnasium environments."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.rate_limit import check_low_pass, slew_rates
from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec
from acer_robot.tasks.cpu.commands import measure_commands
from acer_robot.tasks.cpu.spaces import one_line
from acer_robot.tasks.model.actuators import describe_robot
from acer_robot.tasks.model.cameras import TRACKING, find_camera
from acer_robot.tasks.model.floor import EndlessFloor
from acer_robot.tasks.model.layout import fields
from acer_robot.tasks.model.names import Entry
from acer_robot.tasks.model.simulator import load_simulator, prepare_pictures, quiet_building

if TYPE_CHECKING:
    from dm_control.mujoco import Camera, Physics
    from dm_control.rl.control import Environment

UNBOUNDED = 1e10
"""dm_control shows an actuator without limits as [-1e10, 1e10] (mjMAXVAL)."""
CAMERAS = {"quadruped": 2}
"""Cameras that follow the robot from the side, where that is not camera 0."""
BUILD_SEED = 0
"""lqr draws its stiffness when it is built. With this seed all environments of a task have the same robot."""

Env = gymnasium.Env[Any, Any]
Observation = npt.NDArray[np.float32]


class DMControlEnv(gymnasium.Env[Observation, npt.NDArray[np.float64]]):
    """A dm_control environment as a Gymnasium one.

    The observation is the concatenation of the task's observations as float32, in the order of its
    `observation_spec()`, each flattened in row-major order. A last step with discount 0 is terminated, one
    with discount 1 truncated.
    """

    def __init__(self, environment: Environment, camera: int, render_size: tuple[int, int] | None) -> None:
        self.environment = environment
        self._camera_number, self._render_size = camera, render_size
        self._camera: Camera | None = None
        self._floor = None if render_size is None else EndlessFloor(environment.physics.model)
        self.render_mode = None if render_size is None else "rgb_array"
        self.layout = [
            Entry(key, math.prod(spec.shape), "") for key, spec in environment.observation_spec().items()
        ]
        self._keys = [entry.name for entry in self.layout]
        action = environment.action_spec()
        low = np.where(action.minimum <= -UNBOUNDED, -np.inf, action.minimum)
        high = np.where(action.maximum >= UNBOUNDED, np.inf, action.maximum)
        self.action_space = gymnasium.spaces.Box(low, high, action.shape, np.float64)
        size = sum(entry.width for entry in self.layout)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; a seed restarts the task's random stream."""
        super().reset(seed=seed)
        if seed is not None:
            self.environment.task.random.seed(seed)
        return self._flat(self.environment.reset().observation), {}

    def step(self, action: npt.NDArray[np.float64]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one control step.

        Raises:
            NonFiniteError: if the simulated state diverged.
        """
        from dm_control.rl.control import PhysicsError

        try:
            step = self.environment.step(action)
        except PhysicsError as error:
            raise NonFiniteError(f"dm_control's physics diverged: {one_line(error)}") from error
        last = bool(step.last())
        terminated = last and step.discount == 0.0
        return self._flat(step.observation), float(step.reward), terminated, last and not terminated, {}

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture [H, W, 3] of the current state."""
        assert self._render_size is not None
        assert self._floor is not None
        width, height = self._render_size
        with self._floor.drawn():
            if self._camera is None:
                from dm_control.mujoco import Camera

                self._camera = Camera(self.environment.physics, height, width, self._camera_number)
            self._camera.update()  # MuJoCo centres an endless floor where the camera was before
            return np.ascontiguousarray(self._camera.render(), dtype=np.uint8)

    def close(self) -> None:
        """Free the simulator."""
        self.environment.close()

    def _flat(self, observation: Mapping[str, npt.NDArray[np.float64]]) -> Observation:
        parts = [np.ravel(observation[key]) for key in self._keys]
        return np.concatenate(parts, dtype=np.float32, casting="same_kind")


def build(config: TaskConfig, render_size: tuple[int, int] | None, camera: str = TRACKING) -> Env:
    """Make one environment of "domain-task", able to render if `render_size` (width, height) is given.

    Raises:
        InputError: for an unknown domain, task or camera, or keyword arguments that do not fit.
    """
    suite = load_simulator("dm_control.suite", rendering=render_size is not None)
    domain, task = _find(suite, config.id)
    if "random" in config.kwargs:
        raise InputError("task.kwargs must not set random; the seed does")
    try:
        with quiet_building():
            environment = suite.load(domain, task, task_kwargs={**config.kwargs, "random": BUILD_SEED})
    except (TypeError, ValueError) as error:
        if not config.kwargs:
            raise
        raise InputError(
            f"task.id={config.id!r} cannot be made with task.kwargs={config.kwargs}: {one_line(error)}"
        ) from error
    if render_size is None:
        _forbid_pictures(environment.physics)
    else:
        prepare_pictures(environment.physics.model, render_size)
    model = environment.physics.model.ptr
    chosen = find_camera(model, camera, config.id)
    if chosen is None:
        chosen = CAMERAS.get(domain, 0) if model.ncam else -1
    return DMControlEnv(environment, chosen, render_size)


def describe(env: Env, config: TaskConfig) -> TaskSpec:
    """Return the specification of `env`, which `build` made.

    Raises:
        InputError: if its action limits cannot be used.
    """
    assert isinstance(env, DMControlEnv)
    environment = env.environment
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    # dm_control counts steps and ends an episode with the first that reaches its limit.
    limit = environment._step_limit
    packages = ("dm_control", "gymnasium", "mujoco")
    check_low_pass(config.low_pass_hz)
    commands = measure_commands(env, config, environment.physics.model.ptr, wrapped=False)
    bounds, seen = commands.bounds, commands.seen
    assert seen is not None
    physics_steps = seen.physics_steps or 1
    return TaskSpec(
        id=f"dm_control/{config.id}",
        observation=fields(env.layout),
        bounds=bounds,
        control_dt=physics_steps * seen.timestep * config.action_repeat,
        frame_skip=physics_steps,
        action_repeat=config.action_repeat,
        time_limit=0 if math.isinf(limit) else math.ceil(limit),
        versions=tuple((package, version(package)) for package in packages),
        slew_rate=slew_rates(bounds.names, config.slew_rate),
        low_pass_hz=config.low_pass_hz,
        command_is_actuator=commands.is_actuator,
        notes=commands.notes,
        robot=describe_robot(environment.physics.model.ptr, bounds, None) if commands.is_actuator else None,
    )


def _forbid_pictures(physics: Physics) -> None:
    """Prevent tasks from opening an OpenGL context. quadruped-escape would do so at each reset."""
    kind = type(physics)
    physics.__class__ = type(kind.__name__, (kind,), {"contexts": None})


def _find(suite: ModuleType, task_id: str) -> tuple[str, str]:
    """Split "domain-task", both of which must exist."""
    domain, _, task = task_id.partition("-")
    if (domain, task) in suite.ALL_TASKS:
        return domain, task
    if domain in suite.TASKS_BY_DOMAIN:
        choices = ", ".join(f"{domain}-{name}" for name in suite.TASKS_BY_DOMAIN[domain])
        raise InputError(f"task.id={task_id!r} is not in the dm_control suite; {domain} has {choices}")
    close = difflib.get_close_matches(task_id, ["-".join(pair) for pair in suite.ALL_TASKS], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"task.id={task_id!r} is not in the dm_control suite; {hint}Expected domain-task with a domain of "
        f"{', '.join(suite.TASKS_BY_DOMAIN)}"
    )
