"""Velocity tracking for legged robots: walk as a commanded velocity says, and do not fall.

The policy observes what a real robot knows: the gyroscope, the direction of gravity, joint positions and velocities,
its last command, and the velocity to follow. It does not observe the velocity of its trunk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.spec import ObservationField
from acer_robot.tasks.model.moving_body import driven_bases
from acer_robot.tasks.model.numbers import number
from acer_robot.tasks.robot.build import Robot, build_robot
from acer_robot.tasks.robot.layout import AXES, command_fields, joint_fields, laid_out
from acer_robot.tasks.robot.options import physics_steps, read_settings, read_weights
from acer_robot.tasks.robot.rotation import gravity_direction, velocity_between
from acer_robot.tasks.robot.source import model_path
from acer_robot.tasks.tensor.draws import normal, on_device, uniform
from acer_robot.tasks.tensor.task import Memory, State, TensorTask

AXIS_NAMES = ("vx", "vy", "yaw_rate")
"""Forward and sideways velocity in m/s and turning rate in rad/s, in the frame of the trunk without its tilt."""


@dataclass(frozen=True)
class Settings:
    """Numbers of the task; `task.kwargs` sets them."""

    MAY_BE_ZERO: ClassVar = ("standing", "start_angle", "start_speed", "lowest")
    HIGHEST: ClassVar = {"control_dt": 1.0, "standing": 1.0, "tilt": math.pi, "start_angle": math.pi}

    control_dt: float = 0.04
    """Seconds between two commands."""
    timestep: float | None = None
    """Seconds of a physics step; None: the file's."""
    seconds: float = 20.0
    """Seconds of an episode."""
    vx: tuple[float, float] = (-0.4, 0.8)
    """Range in m/s of the commanded forward velocity."""
    vy: tuple[float, float] = (-0.3, 0.3)
    """Range in m/s of the commanded velocity to the left."""
    yaw_rate: tuple[float, float] = (-0.8, 0.8)
    """Range in rad/s of the commanded turning rate to the left."""
    redraw_seconds: float = 5.0
    """Mean time in seconds until another velocity is drawn within an episode."""
    standing: float = 0.1
    """Share of draws that command to stand."""
    velocity_error: float = 0.15
    """Error in m/s that halves the reward of the term velocity."""
    yaw_rate_error: float = 0.5
    """Error in rad/s that halves the reward for the turning rate."""
    lowest: float = 0.5
    """Height of the trunk, as a share of its height in the home pose, below which the robot has fallen."""
    tilt: float = 1.0
    """Angle in rad between trunk and vertical above which the robot has fallen."""
    start_angle: float = 0.1
    """Largest deviation in rad of a joint from the home pose at the start of an episode."""
    start_speed: float = 0.1
    """Standard deviation of the velocities at the start of an episode, in m/s and rad/s."""


WEIGHTS = {
    "velocity": 0.4,
    "progress": 0.4,
    "yaw_rate": 0.15,
    "upright": 0.05,
    "height": 1.0,
    "effort": 0.05,
    "command_rate": 0.05,
    "air_time": 0.5,
}
"""Weights of the terms of the reward; `task.reward` changes them. A robot that does all it should gets about 1."""

LONGEST_AIR, SHORTEST_AIR = 0.4, 0.1
"""Seconds in the air of a foot: above the first a step is no better, below the second it costs."""
SLOWEST = 0.3
"""Commanded speed in m/s below which the term progress no longer gets steeper."""
MOVING = 0.05
"""Commanded speed above which steps are rewarded."""


@dataclass(frozen=True)
class Tracking:
    """A robot that follows a velocity: the functions of its tensor task."""

    robot: Robot
    settings: Settings
    weights: Mapping[str, float]
    fixed: Sequence[float] | None
    """The velocity to follow; None: it is drawn."""

    @cached_property
    def base(self) -> int:
        """Number of the free joint."""
        return driven_bases(self.robot.model)[0]

    @cached_property
    def at(self) -> int:
        """Address in qpos of the free joint."""
        return int(self.robot.model.jnt_qposadr[self.base])

    @cached_property
    def home_height(self) -> float:
        """Height of the trunk in metres above the floor in the home pose."""
        return self.robot.home[self.at + 2] - self.robot.floor

    def reset(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the home pose with other angles of the joints, and small velocities."""
        qpos = on_device(self.robot.home, generator).repeat(count, 1)
        driven = sorted(set(self.robot.positions))
        qpos[:, driven] += uniform(count, len(driven), self.settings.start_angle, generator)
        return qpos, normal(count, self.robot.model.nv, self.settings.start_speed, generator)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return velocities [count, 3] to follow."""
        if self.fixed is not None:
            return on_device(self.fixed, generator).repeat(count, 1)
        return draw_velocities(count, self.settings, generator)

    def begin(self, count: int, generator: torch.Generator) -> Memory:
        """Return velocity, last command and time in the air of each foot at the start of episodes."""
        return {
            "velocity": self.draw(count, generator),
            "last_command": on_device(self.robot.rest, generator).repeat(count, 1),
            "air": torch.zeros(count, len(self.robot.feet), dtype=torch.float64, device=generator.device),
        }

    def remember(self, after: State, command: Tensor, generator: torch.Generator) -> Memory:
        """Draw another velocity now and then, and count the time in the air."""
        count, velocity, air = len(command), after.memory["velocity"], after.memory["air"]
        other = self.draw(count, generator)
        chance = torch.rand(count, 1, generator=generator, device=generator.device)
        redrawn = chance < self.settings.control_dt / self.settings.redraw_seconds
        later = air + self.settings.control_dt
        return {
            "velocity": torch.where(redrawn, other.to(velocity.dtype), velocity),
            "last_command": command.clone(),
            "air": torch.where(self._touches(after), torch.zeros_like(air), later),
        }

    def observe(self, state: State) -> Tensor:
        """Return gyroscope, gravity, joints, last command and velocity to follow."""
        qpos, qvel = state.qpos, state.qvel
        dof = int(self.robot.model.jnt_dofadr[self.base])
        parts = [
            qvel[:, dof + 3 : dof + 6],
            gravity_direction(self._pose(state)[:, 3:]),
            qpos[:, self.robot.positions],
            qvel[:, self.robot.velocities],
            state.memory["last_command"],
            state.memory["velocity"],
        ]
        return torch.cat([part.to(qpos.dtype) for part in parts], dim=1)

    def reward(self, before: State, command: Tensor, after: State) -> dict[str, Tensor]:
        """Return the weighted terms. The velocity is that between two commands, not that at one moment."""
        settings, wanted = self.settings, before.memory["velocity"]
        achieved = velocity_between(self._pose(before), self._pose(after), settings.control_dt)
        difference = achieved - wanted
        error, turning = difference[:, :2].norm(dim=1), difference[:, 2].abs()
        height = self._height(after) / self.home_height - 1.0
        change = 2.0 * (command - before.memory["last_command"]) / self.robot.span.to(command)
        effort = self.robot.effort_shares(after.actuator_force)
        wanted_speed = wanted[:, :2].norm(dim=1).clamp_min(SLOWEST)
        terms = {
            "velocity": 1.0 / (1.0 + (error / settings.velocity_error).square()),
            "progress": (1.0 - error / wanted_speed).clamp_min(-1.0),
            "yaw_rate": 1.0 / (1.0 + (turning / settings.yaw_rate_error).square()),
            "upright": self._upright(after),
            "height": -height.clamp_max(0.0).square(),
            "effort": -effort.square().mean(1),
            "command_rate": -change.square().mean(1),
            "air_time": self._steps(before, after) * (wanted.norm(dim=1) > MOVING),
        }
        return {name: self.weights[name] * value for name, value in terms.items()}

    def terminated(self, state: State) -> Tensor:
        """Return where the robot has fallen."""
        tilted = self._upright(state) < math.cos(self.settings.tilt)
        return tilted | (self._height(state) < self.settings.lowest * self.home_height)

    def _height(self, state: State) -> Tensor:
        """Return the trunk's height [B] in metres above the floor."""
        return self._pose(state)[:, 2] - self.robot.floor

    def _pose(self, state: State) -> Tensor:
        """Return place and quaternion [B, 7] of the trunk."""
        return state.qpos[:, self.at : self.at + 7]

    def _upright(self, state: State) -> Tensor:
        """Return the cosine [B] of the trunk's tilt."""
        return -gravity_direction(self._pose(state)[:, 3:])[:, 2]

    def _touches(self, state: State) -> Tensor:
        """Return which feet touch the floor."""
        return state.sensordata[:, list(self.robot.feet)] > 0.0

    def _steps(self, before: State, after: State) -> Tensor:
        """Return the rewarded seconds [B] in the air of the feet that have just landed."""
        air = before.memory["air"]
        lands = self._touches(after) & (air > 0.0)
        return ((air.clamp_max(LONGEST_AIR) - SHORTEST_AIR) * lands).sum(1)


def velocity_task(config: TaskConfig) -> TensorTask:
    """Return the task of a robot.

    Raises:
        InputError: if the robot or an option cannot be used.
    """
    settings, weights = read_settings(config.kwargs, Settings), read_weights(config.reward, WEIGHTS)
    fixed = read_velocity(config.velocity)
    robot = build_robot(config, settings.timestep, legged=True)
    model = robot.model
    task = Tracking(robot, settings, weights, fixed)
    body = str(model.body(model.jnt_bodyid[task.base]).name or "base")
    check_upright(task, body)
    return TensorTask(
        id=f"robot/{config.id}",
        model=model,
        file=str(model_path(str(config.model))),
        frame_skip=physics_steps(settings.control_dt, float(model.opt.timestep)),
        time_limit=max(1, round(settings.seconds / settings.control_dt)),
        bounds=robot.bounds,
        layout=layout_of(robot, body),
        fields=("qpos", "qvel", "sensordata", "actuator_force"),
        reset=task.reset,
        observe=task.observe,
        reward=task.reward,
        terminated=task.terminated,
        start=robot.start,
        begin=task.begin,
        remember=task.remember,
        feet=robot.foot_names,
    )


def check_upright(task: Tracking, body: str) -> None:
    """Raise InputError if the home pose counts as a fall, because the z-axis of the trunk does not point up."""
    pose = torch.tensor(task.robot.home[task.at : task.at + 7], dtype=torch.float64)
    angle = float((-gravity_direction(pose[None, 3:])[0, 2]).clamp(-1.0, 1.0).acos())
    limit = task.settings.tilt
    if angle > limit:
        raise InputError(
            f"the z-axis of body {body!r} is {math.degrees(angle):.0f} degrees from the vertical in the home pose, and "
            f"task.kwargs={{tilt: {limit:g}}} ends episodes above {math.degrees(limit):.0f} degrees; turn the body in "
            f"the file until its z-axis points up and its x-axis forward, and turn what it contains back"
        )


def layout_of(robot: Robot, body: str) -> tuple[ObservationField, ...]:
    """Name the entries of the observation."""
    entries = [(f"angular_velocity:{body}.{axis}", "rad/s", body) for axis in AXES]
    entries += [(f"gravity:{body}.{axis}", "", body) for axis in AXES]
    entries += joint_fields(robot)
    entries += command_fields(robot)
    units = ("m/s", "m/s", "rad/s")
    entries += [(f"command:{name}", unit, body) for name, unit in zip(AXIS_NAMES, units, strict=True)]
    return laid_out(entries)


def draw_velocities(count: int, settings: Settings, generator: torch.Generator) -> Tensor:
    """Return velocities [count, 3] to follow; some of them are zero."""
    ranges = torch.tensor([settings.vx, settings.vy, settings.yaw_rate], dtype=torch.float64)
    low, high = ranges.to(generator.device).T
    shares = torch.rand(count, 4, generator=generator, device=generator.device, dtype=torch.float64)
    drawn: Tensor = (low + shares[:, :3] * (high - low)) * (shares[:, 3:] >= settings.standing)
    return drawn


def read_velocity(given: Sequence[float] | None) -> list[float] | None:
    """Return the velocity that `task.velocity` fixes; None: velocities are drawn.

    Raises:
        InputError: if it is not three numbers.
    """
    if given is None:
        return None
    if len(given) != len(AXIS_NAMES):
        raise InputError(f"task.velocity={list(given)} has {len(given)} numbers; expected [vx, vy, yaw_rate]")
    return [number("task.velocity", value, -100.0, 100.0) for value in given]
