"""A robot ready to be simulated: its model, its commands, its home pose and its feet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds
from acer_robot.tasks.model.actuators import force_limits, joint_force_limits
from acer_robot.tasks.model.moving_body import driven_bases
from acer_robot.tasks.robot.actuators import Actuators, add_actuators, limit_commands
from acer_robot.tasks.robot.at_rest import activations, holding_input, state_at_rest
from acer_robot.tasks.robot.home import KEYFRAME, home_pose, keyframe, movable
from acer_robot.tasks.robot.joints import movable_joints
from acer_robot.tasks.robot.scene import CONTACT, add_contact_sensors, add_scene, find_feet, floor_of
from acer_robot.tasks.robot.source import compiled, load_robot, model_path
from acer_robot.tasks.tensor.spec import narrowed

if TYPE_CHECKING:
    from mujoco import MjModel, MjSpec


@dataclass(frozen=True)
class Robot:
    """A robot's model and what tasks need to know about it."""

    model: MjModel
    home: tuple[float, ...]
    """qpos of the home pose."""
    actuators: Actuators
    floor: float
    """Height in metres of the plane that it stands on; 0 where it stands on none."""
    bounds: ActionBounds
    """Limits of the commands; at rest they hold the home pose, or are no torque."""
    rest: tuple[float, ...]
    """The commands at rest within the narrower limits of `task.bounds`: an episode's first last command."""
    start: dict[str, tuple[float, ...]]
    """Other fields of MjData at the start of an episode, where actuators have a state."""
    feet: tuple[int, ...]
    """Address in sensordata of the number of contacts of each foot."""
    xml: str
    """The model as MJCF, with all that was added to it."""

    @property
    def foot_names(self) -> tuple[str, ...]:
        """Geom of each foot."""
        names = (str(self.model.sensor(i).name) for i in range(self.model.nsensor))
        return tuple(name.removeprefix(CONTACT) for name in names if name.startswith(CONTACT))

    @cached_property
    def positions(self) -> list[int]:
        """Address in qpos of the joint of each command."""
        return [int(self.model.joint(name).qposadr[0]) for name in self.actuators.joints]

    @cached_property
    def velocities(self) -> list[int]:
        """Address in qvel of the joint of each command."""
        return [int(self.model.joint(name).dofadr[0]) for name in self.actuators.joints]

    @cached_property
    def span(self) -> Tensor:
        """Width [d] of the range of each command."""
        low, high = (
            torch.tensor(limit, dtype=torch.float64) for limit in (self.bounds.low, self.bounds.high)
        )
        return (high - low).clamp_min(1e-9)

    @cached_property
    def efforts(self) -> Tensor:
        """Force [d] that counts as full effort: the larger limit of the force, else the robot's weight times 0.1 m."""
        weight = 0.1 * float(self.model.body_mass.sum()) * 9.81
        limits = torch.tensor(np.abs(force_limits(self.model)).max(axis=1))
        return torch.where(limits.isfinite(), limits, torch.full_like(limits, weight))

    @cached_property
    def joint_forces(self) -> Tensor:
        """Lowest and highest force [2, d] of each actuator that its joint lets through."""
        return torch.tensor(joint_force_limits(self.model).T)

    def effort_shares(self, force: Tensor) -> Tensor:
        """Return the forces [B, d] of the actuators that act on the joints, as shares of the full effort."""
        low, high = self.joint_forces.to(force)
        return force.clamp(low, high) / self.efforts.to(force)


def build_robot(config: TaskConfig, timestep: float | None = None, legged: bool = False) -> Robot:
    """Make a robot from `task.model`, `task.actuators` and `task.home`.

    Args:
        config: the options of the task.
        timestep: seconds of a physics step; None: the file's.
        legged: whether the robot must have a free base and feet.

    Raises:
        InputError: if the file, or an option, cannot be used.
    """
    spec = load_robot(config.model)
    movable_joints(spec)
    pose = keyframe(compiled(spec, config.model))
    for key in list(spec.keys):
        spec.delete(key)  # its commands would be those of other actuators
    if timestep is not None:
        spec.option.timestep = timestep
    scales = add_actuators(spec, config.actuators)
    add_scene(spec)
    model = compiled(spec, config.model)
    floor = floor_of(model)
    home = home_pose(model, pose, config.home, floor)
    angles = {name: float(home[model.jnt_qposadr[joint]]) for name, joint in movable(model).items()}
    actuators = limit_commands(spec, model, angles, scales)
    feet = _feet(model, home, floor) if legged else []
    add_contact_sensors(spec, feet)
    rest = [
        holding_input(model, number, angles[name]) if is_target else 0.0
        for number, (name, is_target) in enumerate(zip(actuators.joints, actuators.is_target, strict=True))
    ]
    rest = np.clip(rest, actuators.low, actuators.high).tolist()
    bounds = ActionBounds(actuators.joints, actuators.low, actuators.high, tuple(rest))
    first = narrowed(bounds, config).rest
    act = activations(model, first, angles)
    spec.add_key(name=KEYFRAME, qpos=home.tolist(), ctrl=list(first), act=act)
    _absolute_folders(spec, config.model)
    final = compiled(spec, config.model)
    start = state_at_rest(final, KEYFRAME)
    addresses = tuple(int(final.sensor(CONTACT + name).adr[0]) for name in feet)
    height = 0.0 if floor is None else float(model.geom_pos[floor, 2])
    return Robot(
        final, tuple(home.tolist()), actuators, height, bounds, first, start, addresses, spec.to_xml()
    )


def _absolute_folders(spec: MjSpec, model: str | None) -> None:
    """Let the model find its meshes and textures from every folder."""
    folder = model_path(str(model)).resolve().parent
    if spec.meshes:
        spec.meshdir = str(folder / spec.meshdir)
    if spec.textures:
        spec.texturedir = str(folder / spec.texturedir)


def _feet(model: MjModel, home: np.ndarray, floor: int | None) -> list[str]:
    """Return the names of a legged robot's feet.

    Raises:
        InputError: if the robot cannot walk.
    """
    bases = driven_bases(model)
    if len(bases) > 1:
        names = [model.body(model.jnt_bodyid[base]).name or "without a name" for base in bases]
        raise InputError(
            f"the file has {len(bases)} robots with a free joint and actuators, {', '.join(names)}; leave one of them"
        )
    if not bases:
        raise InputError(
            "the robot is fixed to the world, so that it cannot follow a velocity; give its trunk a free joint, or use "
            "task=robot/reach"
        )
    if floor is None:
        raise InputError(
            "the robot stands on no plane, which velocity tracking needs; remove the file's ground"
        )
    return find_feet(model, home, floor)
