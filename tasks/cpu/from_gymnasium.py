"""Tasks registered with Gymnasium: its MuJoCo tasks, other ids with continuous actions, and a user's own."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, OrderEnforcing, TimeLimit

from acer_robot.errors import InputError
from acer_robot.rate_limit import check_low_pass, slew_rates
from acer_robot.schema import TaskConfig
from acer_robot.spec import ObservationField, TaskSpec
from acer_robot.tasks.cpu.commands import measure_commands
from acer_robot.tasks.cpu.pictures import RgbFrames
from acer_robot.tasks.cpu.probe import where
from acer_robot.tasks.cpu.spaces import check_spaces, one_line
from acer_robot.tasks.cpu.step_time import step_time
from acer_robot.tasks.model.actuators import describe_robot
from acer_robot.tasks.model.cameras import TRACKING, find_camera
from acer_robot.tasks.model.floor import EndlessFloor
from acer_robot.tasks.model.layout import fields, model_layout
from acer_robot.tasks.model.moving_body import moving_body
from acer_robot.tasks.model.names import Entry
from acer_robot.tasks.model.simulator import load_simulator, prepare_pictures, quiet_building

if TYPE_CHECKING:
    from mujoco import MjModel

Env = gymnasium.Env[Any, Any]


def find(task_id: str) -> EnvSpec:
    """Return the registration of "EnvId", or of "module:EnvId" after importing the module that registers it.

    Raises:
        InputError: if there is no such module or id; names close ones.
    """
    module, _, name = task_id.rpartition(":")
    if module:
        _import(module, task_id)
    found = gymnasium.registry.get(name)
    if found is None:
        close = difflib.get_close_matches(name, list(gymnasium.registry), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "gymnasium.pprint_registry() lists all."
        raise InputError(
            f"task.id={task_id!r} is not registered with Gymnasium; {hint} "
            f"An environment of your own is named module:EnvId, with its module on PYTHONPATH"
        )
    return found


def build(config: TaskConfig, render_size: tuple[int, int] | None, camera: str = TRACKING) -> Env:
    """Make one environment, able to render if `render_size` (width, height) is given.

    The size holds for MuJoCo tasks. Other tasks choose their own size.

    Raises:
        InputError: for an unknown id or camera, keyword arguments that do not fit, or a task that cannot draw.
    """
    registration = find(config.id)
    load_simulator("mujoco", rendering=render_size is not None)
    if "render_mode" in config.kwargs:
        raise InputError("task.kwargs must not set render_mode; rendering is a command of its own")
    kwargs = dict(config.kwargs)
    if render_size is not None:
        kwargs["render_mode"] = "rgb_array"
    try:
        if render_size is not None:
            _check_drawable(registration)
        with quiet_building():
            env = gymnasium.make(registration, disable_env_checker=True, **kwargs)
    except InputError:
        raise
    except Exception as error:  # an environment's __init__ may raise anything
        given = f" with task.kwargs={config.kwargs}" if config.kwargs else ""
        # Gymnasium wraps a TypeError in one that repeats the arguments.
        reason = where(error.__cause__ or error)
        raise InputError(f"task.id={config.id!r} cannot be made{given}: {reason}") from error
    if render_size is not None:
        chosen = {"camera_id", "camera_name"} & kwargs.keys()
        if camera != TRACKING or not chosen:
            _set_camera(env, camera, config.id)
        return RgbFrames(env, config.id, _set_up_pictures(env, render_size))
    return env


def describe(env: Env, config: TaskConfig) -> TaskSpec:
    """Return the specification of `env`, which `build` made.

    Raises:
        InputError: if its spaces or action limits cannot be used, or it does not say how long a step takes.
    """
    import mujoco

    check_spaces(config.id, env)
    found = getattr(env.unwrapped, "model", None)
    simulated = isinstance(found, mujoco.MjModel)
    wrapped = not _passes_everything(env)
    model = found if simulated and not wrapped else None
    layout = _layout(env, config.id, model)
    limit = env.spec.max_episode_steps if env.spec is not None else None
    packages = ("gymnasium", "mujoco") if simulated else ("gymnasium",)
    check_low_pass(config.low_pass_hz)
    commands = measure_commands(env, config, found if simulated else None, wrapped)
    bounds = commands.bounds
    seconds, physics_steps, notes = step_time(env, config.id, commands.seen, commands.calls)
    notes = (*commands.notes, *notes, *_statistics(env))
    return TaskSpec(
        id=f"gymnasium/{config.id}",
        observation=layout,
        bounds=bounds,
        control_dt=seconds * config.action_repeat,
        frame_skip=physics_steps,
        action_repeat=config.action_repeat,
        time_limit=int(limit or 0),
        versions=tuple((package, version(package)) for package in packages),
        slew_rate=slew_rates(bounds.names, config.slew_rate),
        low_pass_hz=config.low_pass_hz,
        command_is_actuator=commands.is_actuator,
        notes=notes,
        robot=describe_robot(found, bounds, getattr(env.unwrapped, "fullpath", None))
        if simulated and commands.is_actuator
        else None,
    )


def _import(module: str, task_id: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise InputError(
            f"task.id={task_id!r}: {module!r} is not the name of a Python module; expected module:EnvId"
        )
    if module not in sys.modules:
        found = None
        with contextlib.suppress(ValueError):  # a package that is loaded and has no spec
            found = importlib.util.find_spec(module.partition(".")[0])
        if found is not None:
            print(f"task.id={task_id!r} runs the code of {module}: {found.origin}", file=sys.stderr)
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"task.id={task_id!r}: {one_line(error)}; put the folder that holds it on PYTHONPATH"
        ) from error
    except Exception as error:  # whatever a user's module raises
        reason = f"SyntaxError: {one_line(error)}" if isinstance(error, SyntaxError) else where(error)
        raise InputError(
            f"task.id={task_id!r}: the module {module} cannot be imported: {reason}; mend it"
        ) from error


def _check_drawable(registration: EnvSpec) -> None:
    """Raise InputError if the class of the environments says that it cannot return pictures."""
    entry = registration.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    modes = getattr(creator, "metadata", {"render_modes": ["rgb_array"]}).get("render_modes") or []
    if "rgb_array" not in modes:
        raise InputError(
            f"task.id={registration.id!r} cannot be drawn: its render modes {list(modes)} lack rgb_array"
        )


def _set_up_pictures(env: Env, size: tuple[int, int]) -> EndlessFloor | None:
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is None:
        return None
    renderer.width, renderer.height = size
    prepare_pictures(renderer.model, size)
    return EndlessFloor(renderer.model)


def _set_camera(env: Env, name: str, task_id: str) -> None:
    """Choose the camera of Gymnasium's renderer by its name.

    The model's camera "track" follows the robot. A model without it gets a free camera that looks at the moving body:
    Gymnasium's own stands still, and HalfCheetah runs out of its picture.

    Raises:
        InputError: if there is no such camera.
    """
    import mujoco

    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is None:
        if name != TRACKING:
            raise InputError(
                f"camera={name!r} cannot be had: {task_id} draws one view of its own; leave camera={TRACKING}"
            )
        return
    model = renderer.model
    chosen = find_camera(model, name, task_id)
    if chosen is None:
        track = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
        chosen = track if track >= 0 else None
    body = moving_body(model)
    if chosen is not None or body is None:
        renderer.camera_id = -1 if chosen is None else chosen
        return
    renderer.camera_id = None  # a number would fix the camera that is set here
    own = renderer.default_cam_config or {}
    follow = {"type": int(mujoco.mjtCamera.mjCAMERA_TRACKING), "trackbodyid": body}
    renderer.default_cam_config = {**own, **follow}


def _passes_everything(env: Env) -> bool:
    """Return True if no wrapper changes observations or actions. The model's names then hold for them."""
    while isinstance(env, gymnasium.Wrapper):
        if type(env) not in (OrderEnforcing, TimeLimit, RgbFrames):
            return False
        env = env.env
    return True


def _statistics(env: Env) -> list[str]:
    """Return a note for each wrapper with running statistics. An exported policy cannot contain these."""
    notes = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, NormalizeObservation):
            notes.append(
                "The wrapper NormalizeObservation keeps running statistics in the task, and they are not in the "
                "policy file: the policy expects the output of this wrapper, not a raw observation."
            )
        if isinstance(env, NormalizeReward):
            notes.append(
                "The wrapper NormalizeReward divides rewards by running statistics: returns are not the task's own."
            )
        env = env.env
    return notes


def _layout(env: Env, task_id: str, model: MjModel | None) -> tuple[ObservationField, ...]:
    assert env.observation_space.shape is not None
    size = env.observation_space.shape[0]
    if model is None:
        return fields([Entry("observation", size, "")])
    structure = getattr(env.unwrapped, "observation_structure", None)
    return fields(model_layout(task_id.rpartition(":")[2], model, structure, size))
