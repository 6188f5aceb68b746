"""What a task does with a command, measured in a separate environment before the others are built."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.tasks.cpu.spaces import one_line
from acer_robot.tasks.model.simulator import quiet_building

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

Env = gymnasium.Env[Any, Any]
Array = npt.NDArray[Any]

STEPS = 4
"""Commands whose arrival is compared."""
ATTEMPTS = 12
"""Steps after which the probe stops. A step in which the simulation becomes unstable shows nothing."""
SEED = 0
"""Seed of the probe's episodes."""
LARGEST = 1e3
"""Where limits are wider, the probe's commands stay within +-1,000 units, so that the simulation stays stable."""
TOLERANCE = 1e-5
"""Accepted difference between a command and ctrl, as a share of the joint's range or, if larger, of the command."""
GOLDEN = 0.6180339887498949
"""Golden ratio less 1. Its multiples modulo 1 are distinct and evenly spread."""


@dataclass(frozen=True)
class Seen:
    """What the probe saw in a MuJoCo simulation."""

    physics_steps: int | None
    """Physics steps in one environment step; None: the simulated time does not tell."""
    timestep: float
    """Seconds of one physics step."""
    departure: str | None
    """How a command differed from what arrived in MuJoCo's ctrl, in a clause; None: it arrived as it was."""


def probe_simulation(env: Env, task_id: str, low: Array, high: Array, names: Sequence[str]) -> Seen:
    """Apply distinct commands. Compare them with MuJoCo's ctrl, and measure the simulated time of a step.

    Do not use the environment afterwards: its state and its random stream have changed.

    Args:
        env: an environment whose simulation `simulation_of` finds.
        task_id: the id as the user wrote it, for messages.
        low: [d] lower limits of the commands; may be infinite.
        high: [d] upper limits, likewise.
        names: what the commands are called in messages.

    Raises:
        InputError: if `reset` or `step` does not do what Gymnasium's interface says, or no step is stable.
    """
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    low, high = _moderate(low, high)
    departure: str | None = None
    whole: list[int] = []
    cut: list[int] = []
    compared, fresh = 0, False
    timestep = 0.0
    for attempt in range(ATTEMPTS):
        if not fresh:
            checked_reset(env, task_id)
        command = _command(attempt, low, high).astype(env.action_space.dtype)
        model, data = _required(env)
        before, resets = float(data.time), _resets(data)
        try:
            terminated, truncated = checked_step(env, task_id, command)
        except NonFiniteError:
            fresh = False
            continue
        model, data = _required(env)
        gain, timestep = float(data.time) - before, float(model.opt.timestep)
        fresh = not (terminated or truncated)
        if gain < 0.0 or _resets(data) > resets:  # MuJoCo or the environment has reset the state
            fresh = False
            continue
        departure = departure or _departure(command, np.array(data.ctrl), high - low, names)
        (whole if fresh else cut).append(round(gain / timestep))
        compared += 1
        if compared == STEPS:
            break
    if not compared:
        raise InputError(
            f"task.id={task_id!r}: the simulation becomes unstable and is reset at every command within the "
            f"limits; give the model a smaller timestep, or narrower limits: task.bounds"
        )
    # An episode that ends in the middle of a step may leave physics steps out.
    (physics_steps, _), *_ = Counter(whole or cut).most_common()
    return Seen(physics_steps or None, timestep, departure)


def probe_interface(env: Env, task_id: str, command: Array) -> int:
    """Reset, and take one step with `command` [d]; return how often that calls the innermost environment.

    One command is enough where there is no simulation to measure. Besides, a real machine may move.

    Raises:
        InputError: if `reset` or `step` does not do what Gymnasium's interface says.
    """
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    inner, calls = env.unwrapped, 0
    attributes, step = dict(vars(inner)), inner.step

    def counted(action: Any) -> Any:  # noqa: ANN401 - the environment's own types
        nonlocal calls
        calls += 1
        return step(action)

    checked_reset(env, task_id)
    inner.step = counted  # type: ignore[method-assign]
    try:
        checked_step(env, task_id, command.astype(env.action_space.dtype))
    except NonFiniteError as error:
        raise InputError(f"task.id={task_id!r}: the first step fails: {one_line(error)}") from error
    finally:
        del inner.step  # restores the method of the class, so that nothing keeps a closed environment alive
        if "step" in attributes:
            inner.step = step  # type: ignore[method-assign]
    return max(calls, 1)


def simulation_of(env: Env) -> tuple[MjModel, MjData] | None:
    """Return model and state of the MuJoCo simulation in `env`: `model` and `data`, or dm_control's physics."""
    import mujoco

    inner = env.unwrapped
    physics = getattr(getattr(inner, "environment", inner), "physics", None)
    model, data = getattr(inner, "model", None), getattr(inner, "data", None)
    if physics is not None:
        model = getattr(getattr(physics, "model", None), "ptr", None)
        data = getattr(getattr(physics, "data", None), "ptr", None)
    if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData):
        return model, data
    return None


def checked_reset(env: Env, task_id: str) -> None:
    """Start an episode with a seed.

    Raises:
        InputError: if it raises, or does not return a finite observation of the space and a dictionary.
    """
    result = _called(f"task.id={task_id!r}: reset(seed={SEED})", lambda: env.reset(seed=SEED))
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
        raise InputError(
            f"task.id={task_id!r}: reset() returns {_kind(result)}; expected a tuple (observation, info) with "
            f"a dictionary for info"
        )
    _check_observation(env, task_id, "reset()", result[0])
    with np.errstate(over="ignore"):
        observation = np.asarray(result[0], np.float64).astype(np.float32)
    if not np.isfinite(observation).all():
        entry = int(np.argmin(np.isfinite(observation)))
        raise InputError(
            f"task.id={task_id!r}: observation {entry} of reset() is {np.asarray(result[0])[entry]}; expected a number "
            f"that is finite in float32"
        )


def checked_step(env: Env, task_id: str, command: Array) -> tuple[bool, bool]:
    """Take one step; return whether the task ended and whether the episode was cut off.

    Raises:
        InputError: if it raises, or does not return what Gymnasium's interface says.
        NonFiniteError: if the environment says itself that its simulation diverged.
    """
    # The environment may write to its action, and the caller compares the command afterwards.
    result = _called(f"task.id={task_id!r}: step()", lambda: env.step(command.copy()))
    if not (isinstance(result, tuple) and len(result) == 5):
        raise InputError(
            f"task.id={task_id!r}: step() returns {_kind(result)}; expected a tuple of 5 values: observation, "
            f"reward, terminated, truncated, info"
        )
    observation, reward, terminated, truncated, info = result
    _check_observation(env, task_id, "step()", observation)
    if not _is_number(reward, "fiub"):
        raise InputError(
            f"task.id={task_id!r}: the reward of step() is {_kind(reward)}; expected one number, as of float()"
        )
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if not (np.asarray(flag).dtype.kind in "iub" and np.size(flag) == 1):
            raise InputError(
                f"task.id={task_id!r}: {name} of step() is {_kind(flag)}; expected True or False"
            )
    if not isinstance(info, Mapping):
        raise InputError(f"task.id={task_id!r}: info of step() is {_kind(info)}; expected a dictionary")
    return bool(terminated), bool(truncated)


def where(error: BaseException) -> str:
    """Return type and message of an exception, and the last line of the user's code in it, on one line."""
    text = one_line(error)
    own = ("site-packages", str(Path(__file__).parent))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename for part in own)
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


def _required(env: Env) -> tuple[MjModel, MjData]:
    found = simulation_of(env)
    assert found is not None
    return found


def _resets(data: MjData) -> int:
    """Return how often MuJoCo found a bad state and reset it to the model's initial state."""
    import mujoco

    kinds = (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
    return sum(int(data.warning[kind].number) for kind in kinds)


def _called(what: str, call: Any) -> Any:  # noqa: ANN401 - whatever an environment returns
    """Return `call()`; an exception of the environment's own becomes an InputError."""
    try:
        with quiet_building():
            return call()
    except (InputError, NonFiniteError):
        raise
    except Exception as error:  # an environment may raise anything
        raise InputError(f"{what} raises {where(error)}") from error


def _check_observation(env: Env, task_id: str, call: str, observation: Any) -> None:  # noqa: ANN401
    space = env.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    try:
        found = np.asarray(observation)
    except ValueError:
        found = np.asarray(None)
    if found.shape != space.shape or found.dtype.kind not in "fiub":
        raise InputError(
            f"task.id={task_id!r}: the observation of {call} is {_kind(observation)}; expected numbers of shape "
            f"{space.shape}, as its observation space says"
        )


def _is_number(value: Any, kinds: str) -> bool:  # noqa: ANN401
    array = np.asarray(value, dtype=None if np.isscalar(value) or isinstance(value, np.ndarray) else object)
    return array.ndim == 0 and array.dtype.kind in kinds


def _kind(value: Any) -> str:  # noqa: ANN401
    """Describe a value in a few words."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} values"
    text = one_line(repr(value))
    return f"of type {type(value).__name__}: {text if len(text) <= 60 else text[:57] + '...'}"


def _moderate(low: Array, high: Array) -> tuple[Array, Array]:
    """Return finite limits within `low` and `high`, and within +-LARGEST where these allow it.

    An infinite limit becomes 1 or -1, or lies 2 units from the other limit if that is farther out.
    """
    lower, upper = low.astype(np.float64), high.astype(np.float64)
    upper = np.where(np.isinf(upper), np.where(np.isinf(lower), 1.0, np.maximum(1.0, lower + 2.0)), upper)
    lower = np.where(np.isinf(lower), np.minimum(-1.0, upper - 2.0), lower)
    return np.maximum(lower, np.minimum(-LARGEST, upper)), np.minimum(upper, np.maximum(LARGEST, lower))


def _command(step: int, low: Array, high: Array) -> Array:
    """Return a command [d] within the limits that differs from joint to joint and from step to step."""
    numbers = np.arange(1, low.size + 1) + step * low.size
    share = 0.1 + 0.8 * ((GOLDEN * numbers) % 1.0)
    command: Array = np.clip(low + share * (high - low), low, high)
    return command


def _departure(command: Array, arrived: Array, width: Array, names: Sequence[str]) -> str | None:
    """Say how `command` [d] differs from ctrl [nu]; None if it does not."""
    if arrived.shape != command.shape:
        return f"a command has {command.size} values, and the model {arrived.size} actuators"
    wanted = command.astype(np.float64)
    allowed = TOLERANCE * np.maximum(width, np.abs(wanted))
    differ = ~(np.abs(arrived - wanted) <= allowed)
    if not differ.any():
        return None
    i = int(np.argmax(differ))
    return f"{wanted[i]:.4g} for {names[i]} arrived in MuJoCo's ctrl as {arrived[i]:.4g}"
