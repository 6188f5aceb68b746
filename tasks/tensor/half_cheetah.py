"""HalfCheetah-v5 of Gymnasium: run forward. The names of the arguments are Gymnasium's."""

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

ID = "HalfCheetah-v5"


def half_cheetah(
    frame_skip: int = 5,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 0.1,
    reset_noise_scale: float = 0.1,
) -> TensorTask:
    """Return the task. An episode ends at the time limit alone."""
    model = gymnasium_model("half_cheetah.xml")
    seconds, start = model.opt.timestep * frame_skip, model.qpos0.tolist()

    def reset(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        qpos = on_device(start, generator) + uniform(count, model.nq, reset_noise_scale, generator)
        return qpos, normal(count, model.nv, reset_noise_scale, generator)

    def reward(before: State, command: Tensor, after: State) -> dict[str, Tensor]:
        velocity = (after.qpos[:, 0] - before.qpos[:, 0]) / seconds
        cost = ctrl_cost_weight * command.square().sum(1)
        return {"forward": forward_reward_weight * velocity, "control": -cost}

    return TensorTask(
        id=f"gymnasium/{ID}",
        model=model,
        file=gymnasium_file("half_cheetah.xml"),
        frame_skip=frame_skip,
        time_limit=1000,
        bounds=actuator_bounds(model),
        layout=layout_of(ID, model, skipped=1),
        fields=("qpos", "qvel"),
        reset=reset,
        observe=lambda state: torch.cat([state.qpos[:, 1:], state.qvel], dim=1),
        reward=reward,
        terminated=lambda state: torch.zeros_like(state.qpos[:, 0], dtype=torch.bool),
    )
