"""Ant-v5 of Gymnasium: run forward on four legs. The names of the arguments are Gymnasium's."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.tasks.tensor.draws import normal, on_device, uniform
from acer_robot.tasks.tensor.gymnasium_model import (
    actuator_bounds,
    gymnasium_file,
    gymnasium_model,
    layout_of,
)
from acer_robot.tasks.tensor.task import State, TensorTask

ID = "Ant-v5"
HEIGHT = (0.2, 1.0)
"""Height of the torso in m within which the ant is healthy."""
FORCE = 1.0
"""Contact forces and torques are clipped to this, in N and N m."""
TORSO = 1
"""Number of the torso among the bodies."""


def ant(
    frame_skip: int = 5,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 0.5,
    contact_cost_weight: float = 5e-4,
    healthy_reward: float = 1.0,
    reset_noise_scale: float = 0.1,
) -> TensorTask:
    """Return the task. An episode ends when the torso is too low or too high."""
    model = gymnasium_model("ant.xml")
    seconds, start = model.opt.timestep * frame_skip, model.qpos0.tolist()

    def reset(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        qpos = on_device(start, generator) + uniform(count, model.nq, reset_noise_scale, generator)
        return qpos, normal(count, model.nv, reset_noise_scale, generator)

    def healthy(state: State) -> Tensor:
        finite = state.qpos.isfinite().all(1) & state.qvel.isfinite().all(1)
        return finite & (state.qpos[:, 2] >= HEIGHT[0]) & (state.qpos[:, 2] <= HEIGHT[1])

    def observe(state: State) -> Tensor:
        contact = state.cfrc_ext[:, 1:].clamp(-FORCE, FORCE).flatten(1)
        return torch.cat([state.qpos[:, 2:], state.qvel, contact], dim=1)

    def reward(before: State, command: Tensor, after: State) -> dict[str, Tensor]:
        velocity = (after.xpos[:, TORSO, 0] - before.xpos[:, TORSO, 0]) / seconds
        contact = after.cfrc_ext.clamp(-FORCE, FORCE).square().sum((1, 2))
        return {
            "forward": forward_reward_weight * velocity,
            "healthy": healthy_reward * healthy(after),
            "control": -ctrl_cost_weight * command.square().sum(1),
            "contact": -contact_cost_weight * contact,
        }

    return TensorTask(
        id=f"gymnasium/{ID}",
        model=model,
        file=gymnasium_file("ant.xml"),
        frame_skip=frame_skip,
        time_limit=1000,
        bounds=actuator_bounds(model),
        layout=layout_of(ID, model, skipped=2, cfrc_ext=6 * (model.nbody - 1)),
        fields=("qpos", "qvel", "xpos", "cfrc_ext"),
        reset=reset,
        observe=observe,
        reward=reward,
        terminated=lambda state: ~healthy(state),
    )
