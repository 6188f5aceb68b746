"""Rotations of B bodies as unit quaternions [B, 4] (w, x, y, z)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def turned_back(vectors: Tensor, quaternions: Tensor) -> Tensor:
    """Return vectors [B, 3] of the world in the frame of bodies with these orientations [B, 4].

    >>> half = 0.5 ** 0.5
    >>> turned_back(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[half, 0.0, 0.0, half]])).round().int().tolist()
    [[0, -1, 0]]
    """
    unit = quaternions / quaternions.norm(dim=1, keepdim=True)
    scalar, axis = unit[:, :1], -unit[:, 1:]
    across = 2.0 * torch.linalg.cross(axis, vectors)
    turned: Tensor = vectors + scalar * across + torch.linalg.cross(axis, across)
    return turned


def gravity_direction(quaternions: Tensor) -> Tensor:
    """Return the unit vector [B, 3] that points down, in the frame of bodies with these orientations [B, 4]."""
    down = torch.zeros_like(quaternions[:, :3])
    down[:, 2] = -1.0
    return turned_back(down, quaternions)


def yaw_alone(quaternions: Tensor) -> Tensor:
    """Return the part [B, 4] of orientations that turns about the vertical: the heading without the tilt."""
    w, x, y, z = quaternions.unbind(1)
    yaw = torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    zero = torch.zeros_like(yaw)
    return torch.stack([torch.cos(0.5 * yaw), zero, zero, torch.sin(0.5 * yaw)], dim=1)


def velocity_between(before: Tensor, after: Tensor, dt: float) -> Tensor:
    """Return [vx, vy, yaw rate] [B, 3] between two poses [B, 7] (place, quaternion), in the heading before."""
    moved = turned_back((after - before)[:, :3], yaw_alone(before[:, 3:]))
    half = yaw_alone(after[:, 3:]), yaw_alone(before[:, 3:])
    headings = [2.0 * torch.atan2(part[:, 3], part[:, 0]) for part in half]
    turned = torch.remainder(headings[0] - headings[1] + math.pi, 2.0 * math.pi) - math.pi
    velocity: Tensor = torch.cat([moved[:, :2], turned.unsqueeze(1)], dim=1) / dt
    return velocity
