"""Hopper-v5 of Gymnasium: hop forward on one leg and stay upright. The names of the arguments are Gymnasium's."""

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

ID = "Hopper-v5"
LOWEST = 0.7
"""Height of the torso in m above which the hopper is healthy."""
ANGLE = 0.2
"""Largest angle of the torso in rad."""
LARGEST = 100.0
"""Positions but the first two, and velocities, stay within this in a healthy hopper."""
FASTEST = 10.0
"""Observed velocities are clipped to this, in m/s and rad/s."""


def hopper(
    frame_skip: int = 4,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 1e-3,
    healthy_reward: float = 1.0,
    reset_noise_scale: float = 5e-3,
) -> TensorTask:
    """Return the task. An episode ends when the hopper falls."""
    model = gymnasium_model("hopper.xml")
    seconds, start = model.opt.timestep * frame_skip, model.qpos0.tolist()

    def reset(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        qpos = on_device(start, generator) + uniform(count, model.nq, reset_noise_scale, generator)
        return qpos, uniform(count, model.nv, reset_noise_scale, generator)

    def healthy(state: State) -> Tensor:
        rest = torch.cat([state.qpos[:, 2:], state.qvel], dim=1)
        within = ((rest > -LARGEST) & (rest < LARGEST)).all(1)
        return within & (state.qpos[:, 1] > LOWEST) & (state.qpos[:, 2].abs() < ANGLE)

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
        file=gymnasium_file("hopper.xml"),
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
