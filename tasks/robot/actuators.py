"""The actuators of a robot: those of `task.actuators` and those of its file, with finite limits for each command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acer_robot.errors import InputError
from acer_robot.tasks.model.numbers import by_name, number
from acer_robot.tasks.robot.joints import movable_joints

if TYPE_CHECKING:
    from mujoco import MjModel, MjSpec

KEYS = {"kp": 1e6, "kd": 1e5, "effort": 1e6, "scale": 1e3, "armature": 1e3}
"""What an entry of `task.actuators` takes, with the highest value."""


WITHOUT_DEFAULTS = {
    "ctrllimited": 0,
    "ctrlrange": [0.0, 0.0],
    "forcelimited": 0,
    "forcerange": [0.0, 0.0],
    "actrange": [0.0, 0.0],
    "inheritrange": 0.0,
    "armature": 0.0,
    "damping": [0.0, 0.0, 0.0],
    "delay": 0.0,
    "nsample": 0,
}
"""Fields of a new actuator that MuJoCo fills from the file's default class, which is for the file's own actuators."""


@dataclass(frozen=True)
class Actuators:
    """What the commands of a robot are."""

    joints: tuple[str, ...]
    """Joint that each command drives, in the order of the commands."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    is_target: tuple[bool, ...]
    """Whether a command says which position to reach; else it is a torque, a force or a velocity."""


def add_actuators(spec: MjSpec, wanted: Mapping[str, Any]) -> dict[str, float]:
    """Add the actuators of `task.actuators`; they replace those that the file has on the same joints.

    An entry with `kp` makes position targets: `force = kp (command - position) - kd velocity`, within +-`effort`. Its
    commands lie within `scale` of the home pose and within the joint's range. An entry without `kp` makes torques
    within +-`effort`. An entry with neither keeps the file's actuator: `scale` narrows its commands. `armature` is the
    joint's, whichever actuator it has.

    Returns:
        The scale of each joint that has one.

    Raises:
        InputError: if an entry cannot be used, or the model then has no actuator.
    """
    joints = {joint.name: joint for joint in movable_joints(spec)}
    chosen = by_name("task.actuators", wanted, list(joints))
    driven = {actuator.target for actuator in spec.actuators if _on_joint(actuator)}
    scales = {}
    for name, options in chosen.items():
        checked = _checked(name, options)
        if "armature" in checked:
            joints[name].armature = checked["armature"]
        if "kp" in checked or "effort" in checked:
            _replace(spec, joints[name], checked)
        elif name not in driven:
            raise InputError(
                f"task.actuators of joint {name!r} has neither kp nor effort, and the file has no actuator there; give "
                f"kp and kd, or effort"
            )
        if "scale" in checked:
            scales[name] = checked["scale"]
    if not spec.actuators:
        raise InputError(
            "the model has no actuators; give them: task.actuators={.*: {kp: 30, kd: 0.8, effort: 20, scale: 0.4}}; "
            f"its joints are {', '.join(joints)}"
        )
    return scales


def limit_commands(
    spec: MjSpec, model: MjModel, home: Mapping[str, float], scales: Mapping[str, float]
) -> Actuators:
    """Give each actuator of `spec` finite limits of its commands, and return what the commands are.

    Args:
        spec: the model that is edited.
        model: the same model, compiled.
        home: position of each joint in the home pose.
        scales: of the joints that have one.

    Raises:
        InputError: if a command has no finite limits, or an actuator is not the only one of a joint.
    """
    import mujoco

    rows = [_limits(model, number_, home, scales) for number_ in range(model.nu)]
    for actuator, (_, low, high, _) in zip(spec.actuators, rows, strict=True):
        actuator.ctrllimited, actuator.ctrlrange = mujoco.mjtLimited.mjLIMITED_TRUE, [low, high]
        if actuator.dyntype != mujoco.mjtDyn.mjDYN_INTEGRATOR:  # there it limits act
            actuator.inheritrange = 0.0
    joints, lows, highs, is_target = zip(*rows, strict=True)
    twice = {name for name in joints if joints.count(name) > 1}
    if twice:
        raise InputError(f"the joint {min(twice)!r} has two actuators in the file; leave one of them")
    return Actuators(joints, lows, highs, is_target)


def position_command(model: MjModel, number_: int) -> tuple[float, float] | None:
    """Return (slope, offset) of what holds a joint where it is: slope * position + offset.

    That is the command of an actuator, or the state of one that integrates its command. For position targets the slope
    is the gear, and the offset 0.

    Returns:
        None: the actuator's force does not depend on the position.

    Raises:
        InputError: if no single command holds a position.
    """
    import mujoco

    gain, (constant, stiffness) = model.actuator_gainprm[number_, 0], model.actuator_biasprm[number_, :2]
    if model.actuator_biastype[number_] != mujoco.mjtBias.mjBIAS_AFFINE or stiffness == 0.0:
        return None
    if model.actuator_gaintype[number_] != mujoco.mjtGain.mjGAIN_FIXED or gain == 0.0:
        name = model.joint(int(model.actuator_trnid[number_, 0])).name
        raise InputError(
            f"no command holds joint {name!r} at a position: the gain of its actuator is no constant above or below 0; "
            f"give it another: task.actuators={{{name}: {{kp: 30, kd: 0.8, effort: 20, scale: 0.4}}}}"
        )
    return float(-stiffness / gain * model.actuator_gear[number_, 0]), float(-constant / gain)


def _checked(joint: str, options: Any) -> dict[str, float]:  # noqa: ANN401 - whatever a user wrote
    """Return the entry of one joint, checked."""
    what = f"task.actuators of joint {joint!r}"
    if not isinstance(options, Mapping):
        raise InputError(
            f"{what} is {options!r}; expected names and numbers: {{kp: 30, kd: 0.8, effort: 20}}"
        )
    for key in options:
        if key not in KEYS:
            raise InputError(f"{what} has {key!r}, which is not known; it takes {', '.join(KEYS)}")
    result = {str(key): number(f"{key} in {what}", value, 0.0, KEYS[key]) for key, value in options.items()}
    if "kd" in result and "kp" not in result:
        raise InputError(
            f"{what} has kd={options['kd']!r} without kp, and kd is the damping of position targets; give kp too, or "
            f"leave kd out"
        )
    for key in ("kp", "effort", "scale"):
        if result.get(key) == 0.0:
            raise InputError(f"{key} in {what} is 0, so that the joint would not move; give a number above 0")
    return result


def _replace(spec: MjSpec, joint: Any, options: Mapping[str, float]) -> None:  # noqa: ANN401 (MjsJoint)
    """Put one actuator on a joint in place of those that are there, with the name and the sensors that they had."""
    import mujoco

    names = []
    for actuator in list(spec.actuators):
        if _on_joint(actuator) and actuator.target == joint.name:
            names += [actuator.name] if actuator.name else []
            spec.delete(actuator)
    name = names[0] if names else joint.name
    for sensor in spec.sensors:
        if sensor.objtype == mujoco.mjtObj.mjOBJ_ACTUATOR and sensor.objname in names:
            sensor.objname = name
    actuator = spec.add_actuator(
        name=name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT, gear=[1.0, 0, 0, 0, 0, 0]
    )
    for field, value in WITHOUT_DEFAULTS.items():
        setattr(actuator, field, value)
    effort = options.get("effort")
    if effort is not None:
        actuator.forcelimited, actuator.forcerange = mujoco.mjtLimited.mjLIMITED_TRUE, [-effort, effort]
    if "kp" in options:
        actuator.set_to_position(kp=options["kp"], kv=options.get("kd", 0.0))
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST  # it takes kd into the implicit step
    else:
        assert effort is not None  # an entry with neither keeps the file's actuator
        actuator.set_to_motor()
        actuator.ctrllimited, actuator.ctrlrange = mujoco.mjtLimited.mjLIMITED_TRUE, [-effort, effort]


def _limits(
    model: MjModel, number_: int, home: Mapping[str, float], scales: Mapping[str, float]
) -> tuple[str, float, float, bool]:
    """Return joint, lowest and highest command of an actuator, and whether a command is a position.

    `home` and ranges of joints become commands as `position_command` says.
    """
    import mujoco

    if model.actuator_trntype[number_] != mujoco.mjtTrn.mjTRN_JOINT:
        raise InputError(
            f"the file's actuator {model.actuator(number_).name or number_!r} drives no joint; task=robot needs one "
            f"joint for an actuator: remove it from the file"
        )
    joint = int(model.actuator_trnid[number_, 0])
    name = str(model.joint(joint).name)
    # The command of an integrator is a velocity, as that of MuJoCo's intvelocity.
    integrates = model.actuator_dyntype[number_] == mujoco.mjtDyn.mjDYN_INTEGRATOR
    line = position_command(model, number_)
    is_target = line is not None and not integrates
    slope, offset = line if line is not None and is_target else (1.0, 0.0)
    low, high = -float("inf"), float("inf")
    if model.actuator_ctrllimited[number_]:
        low, high = model.actuator_ctrlrange[number_].tolist()
    elif is_target and model.jnt_limited[joint]:
        low, high = sorted((slope * model.jnt_range[joint] + offset).tolist())
    elif not is_target and not integrates and model.actuator_forcelimited[number_]:
        low, high = (model.actuator_forcerange[number_] / abs(model.actuator_gainprm[number_, 0])).tolist()
    if name in scales:
        middle, width = slope * home[name] + offset if is_target else 0.0, abs(slope) * scales[name]
        low, high = max(low, middle - width), min(high, middle + width)
    if not -float("inf") < low <= high < float("inf"):
        needed = "scale: 0.4" if is_target else "effort: 20"
        raise InputError(
            f"the commands of joint {name!r} have no finite limits; give them: task.actuators={{{name}: {{{needed}}}}}"
        )
    return name, low, high, is_target


def _on_joint(actuator: Any) -> bool:  # noqa: ANN401 (MjsActuator)
    import mujoco

    return bool(actuator.trntype == mujoco.mjtTrn.mjTRN_JOINT)
