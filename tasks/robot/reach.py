"""Reaching: an arm brings a site of its end-effector to a commanded place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.spec import ObservationField
from acer_robot.tasks.model.moving_body import driven_roots
from acer_robot.tasks.robot.actuators import position_command
from acer_robot.tasks.robot.build import Robot, build_robot
from acer_robot.tasks.robot.couplings import check_uncoupled
from acer_robot.tasks.robot.layout import AXES, command_fields, joint_fields, laid_out
from acer_robot.tasks.robot.options import physics_steps, read_settings, read_weights
from acer_robot.tasks.robot.source import model_path
from acer_robot.tasks.tensor.draws import normal, on_device, uniform
from acer_robot.tasks.tensor.task import Memory, State, TensorTask

if TYPE_CHECKING:
    from mujoco import MjModel


@dataclass(frozen=True)
class Settings:
    """Numbers of the task; `task.kwargs` sets them."""

    MAY_BE_ZERO: ClassVar = ("start_angle", "start_speed")
    HIGHEST: ClassVar = {"control_dt": 1.0, "start_angle": math.pi}

    site: str = ""
    """Name of the end-effector's site."""
    control_dt: float = 0.04
    """Seconds between two commands."""
    timestep: float | None = None
    """Seconds of a physics step; None: the file's."""
    seconds: float = 10.0
    """Seconds of an episode."""
    redraw_seconds: float = 4.0
    """Mean time in seconds until another place is drawn within an episode."""
    distance: float = 0.05
    """Distance in metres that halves the reward."""
    start_angle: float = 0.3
    """Largest deviation in rad or m of a joint from the home pose at the start of an episode."""
    start_speed: float = 0.1
    """Standard deviation of the joints' velocities at the start of an episode, in rad/s or m/s."""


WEIGHTS = {"distance": 1.0, "effort": 0.05, "command_rate": 0.05}
"""Weights of the terms of the reward; `task.reward` changes them."""
POSES, TRIES = 2048, 20_000
"""Reachable places that targets are drawn from, and random poses that are looked at for them."""


@dataclass(frozen=True)
class Reaching:
    """An arm that brings a site to a place: the functions of its tensor task."""

    robot: Robot
    settings: Settings
    weights: Mapping[str, float]
    site: int
    """Number of the end-effector's site."""
    places: Tensor
    """[n, 3] that targets are drawn from."""
    limits: tuple[list[float], list[float]]
    """Lowest and highest position of each commanded joint."""

    def reset(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the home pose with other positions of the joints, and small velocities."""
        joints = self.robot.positions
        qpos = on_device(self.robot.home, generator).repeat(count, 1)
        drawn = qpos[:, joints] + uniform(count, len(joints), self.settings.start_angle, generator)
        low, high = (on_device(limit, generator) for limit in self.limits)
        qpos[:, joints] = torch.minimum(torch.maximum(drawn, low), high)
        return qpos, normal(count, self.robot.model.nv, self.settings.start_speed, generator)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return places [count, 3] to reach."""
        numbers = torch.randint(len(self.places), (count,), generator=generator, device=generator.device)
        return self.places.to(generator.device)[numbers]

    def begin(self, count: int, generator: torch.Generator) -> Memory:
        """Return place to reach and last command at the start of episodes."""
        rest = on_device(self.robot.rest, generator).repeat(count, 1)
        return {"target": self.draw(count, generator), "last_command": rest}

    def remember(self, after: State, command: Tensor, generator: torch.Generator) -> Memory:
        """Draw another place now and then."""
        target = after.memory["target"]
        chance = torch.rand(len(command), 1, generator=generator, device=generator.device)
        other = self.draw(len(command), generator).to(target.dtype)
        is_redrawn = chance < self.settings.control_dt / self.settings.redraw_seconds
        return {"target": torch.where(is_redrawn, other, target), "last_command": command.clone()}

    def observe(self, state: State) -> Tensor:
        """Return joints, last command, place of the site and place to reach."""
        place, target = state.site_xpos[:, self.site], state.memory["target"]
        positions, velocities = state.qpos[:, self.robot.positions], state.qvel[:, self.robot.velocities]
        parts = [positions, velocities, state.memory["last_command"], place, target]
        return torch.cat([part.to(state.qpos.dtype) for part in parts], dim=1)

    def reward(self, before: State, command: Tensor, after: State) -> dict[str, Tensor]:
        """Return the weighted terms."""
        distance = (after.site_xpos[:, self.site] - before.memory["target"]).norm(dim=1)
        change = 2.0 * (command - before.memory["last_command"]) / self.robot.span.to(command)
        effort = self.robot.effort_shares(after.actuator_force)
        terms = {
            "distance": 1.0 / (1.0 + (distance / self.settings.distance).square()),
            "effort": -effort.square().mean(1),
            "command_rate": -change.square().mean(1),
        }
        return {name: self.weights[name] * value for name, value in terms.items()}

    def layout(self) -> tuple[ObservationField, ...]:
        """Name the entries of the observation."""
        rows = joint_fields(self.robot) + command_fields(self.robot)
        rows += [(f"site:{self.settings.site}.{axis}", "m", "world") for axis in AXES]
        rows += [(f"command:{axis}", "m", "world") for axis in AXES]
        return laid_out(rows)


def reach_task(config: TaskConfig) -> TensorTask:
    """Return the task of an arm.

    The places to reach are those of the site in random poses within the limits of the commands, without contact.

    Raises:
        InputError: if the robot or an option cannot be used.
    """
    if config.velocity is not None:
        raise InputError(f"task.velocity={config.velocity} is for velocity tracking; {config.id} has none")
    settings, weights = read_settings(config.kwargs, Settings), read_weights(config.reward, WEIGHTS)
    robot = build_robot(config, settings.timestep)
    site = find_site(robot.model, settings.site)
    check_uncoupled(robot.model, site)
    places = torch.from_numpy(reachable(robot, site))
    task = Reaching(robot, settings, weights, site, places, joint_limits(robot))
    return TensorTask(
        id=f"robot/{config.id}",
        model=robot.model,
        file=str(model_path(str(config.model))),
        frame_skip=physics_steps(settings.control_dt, float(robot.model.opt.timestep)),
        time_limit=max(1, round(settings.seconds / settings.control_dt)),
        bounds=robot.bounds,
        layout=task.layout(),
        fields=("qpos", "qvel", "site_xpos", "actuator_force"),
        reset=task.reset,
        observe=task.observe,
        reward=task.reward,
        terminated=lambda state: torch.zeros_like(state.qpos[:, 0], dtype=torch.bool),
        start=robot.start,
        begin=task.begin,
        remember=task.remember,
    )


def find_site(model: MjModel, name: str) -> int:
    """Return the number of the end-effector's site.

    Raises:
        InputError: if it is not given or the model has none of that name.
    """
    names = [str(model.site(i).name) for i in range(model.nsite)]
    if name not in names or not name:
        has = f"has the sites {', '.join(filter(None, names))}" if any(names) else "has no named site"
        raise InputError(
            f"task=robot/reach needs the name of the end-effector's site, and {name!r} is none: the model {has}; give "
            f"task.kwargs={{site: NAME}}"
        )
    return names.index(name)


def joint_limits(robot: Robot) -> tuple[list[float], list[float]]:
    """Return lowest and highest position of each commanded joint: its range, and within it the limits of targets."""
    model, low, high = robot.model, [], []
    for i, name in enumerate(robot.actuators.joints):
        joint = model.joint(name).id
        limits = (-np.inf, np.inf)
        if model.jnt_limited[joint]:
            limits = tuple(model.jnt_range[joint])
        line = position_command(model, i)
        if line is not None and robot.actuators.is_target[i]:
            slope, offset = line
            commands = robot.bounds.low[i], robot.bounds.high[i]
            low_target, high_target = sorted((command - offset) / slope for command in commands)
            limits = max(limits[0], low_target), min(limits[1], high_target)
        if not np.isfinite(limits).all():
            limits = (-np.pi, np.pi)  # a hinge that turns without an end
        low.append(float(limits[0]))
        high.append(float(limits[1]))
    return low, high


def reachable(robot: Robot, site: int) -> npt.NDArray[np.float64]:
    """Return places [n, 3] of the site in random poses without contact of the robot.

    Raises:
        InputError: if there are none.
    """
    import mujoco

    model, data, random = robot.model, mujoco.MjData(robot.model), np.random.default_rng(0)
    low, high = (np.array(limit) for limit in joint_limits(robot))
    own = np.isin(model.body_rootid[model.geom_bodyid], list(driven_roots(model)))
    is_own = np.append(own, False)  # at -1, which stands for a flex in a contact
    places: list[npt.NDArray[np.float64]] = []
    for _ in range(TRIES):
        data.qpos[:] = robot.home
        data.qpos[robot.positions] = random.uniform(low, high)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        if not is_own[data.contact.geom].any():
            places.append(np.array(data.site_xpos[site]))
        if len(places) == POSES:
            break
    if not places:
        raise InputError(
            f"the arm touches something in each of {TRIES:,} random poses, so that no place can be drawn for it to "
            "reach; let its geoms not collide with their neighbours, or narrow task.actuators"
        )
    return np.array(places)
