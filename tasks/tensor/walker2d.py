"""Walker2d-v5 of Gymnasium: walk forward on two legs and stay upright. The names of the arguments are Gymnasium's."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.tasks.tensor.draws import on_device, uniform
from acer_robot.tasks.tensor.gymnasium_model import (
    actuator_bounds,
    gymnasium_file,
    gymnasium_model,
    layout_of,
)
from acer_robot.tasks.tensor.task import State, TensorTask

ID = "Walker2d-v5"
HEIGHT = (0.8, 2.0)
"""Height of the torso in m within which the walker is healthy."""
ANGLE = (-1.0, 1.0)
"""Angle of the torso in rad within which the walker is healthy."""
FASTEST = 10.0
"""Observed velocities are clipped to this, in m/s and rad/s."""


def walker2d(
    frame_skip: int = 4,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 1e-3,
    healthy_reward: float = 1.0,
    reset_noise_scale: float = 5e-3,
) -> TensorTask:
    """Return the task. An episode ends when the walker falls."""
    model = gymnasium_model("walker2d_v5.xml")
    seconds, start = model.opt.timestep * frame_skip, model.qpos0.tolist()

    def reset(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        qpos = on_device(start, generator) + uniform(count, model.nq, reset_noise_scale, generator)
        return qpos, uniform(count, model.nv, reset_noise_scale, generator)

    def healthy(state: State) -> Tensor:
        height, angle = state.qpos[:, 1], state.qpos[:, 2]
        return (HEIGHT[0] < height) & (height < HEIGHT[1]) & (ANGLE[0] < angle) & (angle < ANGLE[1])

    def reward(before: State, command: Tensor, after: State) -> dict[str, Tensor]:
        velocity = (after.qpos[:, 0] - before.qpos[:, 0]) / seconds
        return {
            "forward": forward_reward_weight * velocity,
            "healthy": healthy_reward * healthy(after),
            "control": -ctrl_cost_weight * command.square().sum(1),
        }

    return TensorTask(
        id=f"gymnasium/{ID}",
        model=model,
        file=gymnasium_file("walker2d_v5.xml"),
        frame_skip=frame_skip,
        time_limit=1000,
        bounds=actuator_bounds(model),
        layout=layout_of(ID, model, skipped=1),
        fields=("qpos", "qvel"),
        reset=reset,
        observe=lambda state: torch.cat([state.qpos[:, 1:], state.qvel.clamp(-FASTEST, FASTEST)], dim=1),
        reward=reward,
        terminated=lambda state: ~healthy(state),
    )
