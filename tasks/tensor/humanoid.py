"""Humanoid-v5 of Gymnasium: walk forward upright. The names of the arguments are Gymnasium's."""

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

ID = "Humanoid-v5"
HEIGHT = (1.0, 2.0)
"""Height of the torso in m within which the humanoid is healthy."""
LARGEST_COST = 10.0
"""The cost of contact forces is at most this."""
FREE = 6
"""Degrees of freedom of the root, which no actuator drives."""


def humanoid(
    frame_skip: int = 5,
    forward_reward_weight: float = 1.25,
    ctrl_cost_weight: float = 0.1,
    contact_cost_weight: float = 5e-7,
    healthy_reward: float = 5.0,
    reset_noise_scale: float = 1e-2,
) -> TensorTask:
    """Return the task. An episode ends when the torso is too low or too high."""
    model = gymnasium_model("humanoid.xml")
    seconds, start = model.opt.timestep * frame_skip, model.qpos0.tolist()
    shares = torch.as_tensor(model.body_mass / model.body_mass.sum())

    def reset(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        qpos = on_device(start, generator) + uniform(count, model.nq, reset_noise_scale, generator)
        return qpos, uniform(count, model.nv, reset_noise_scale, generator)

    def healthy(state: State) -> Tensor:
        return (HEIGHT[0] < state.qpos[:, 2]) & (state.qpos[:, 2] < HEIGHT[1])

    def observe(state: State) -> Tensor:
        bodies = [field[:, 1:].flatten(1) for field in (state.cinert, state.cvel)]
        forces = [state.qfrc_actuator[:, FREE:], state.cfrc_ext[:, 1:].flatten(1)]
        return torch.cat([state.qpos[:, 2:], state.qvel, *bodies, *forces], dim=1)

    def centre(state: State) -> Tensor:
        return state.xipos[:, :, 0] @ shares.to(state.xipos)

    def reward(before: State, command: Tensor, after: State) -> dict[str, Tensor]:
        velocity = (centre(after) - centre(before)) / seconds
        contact = contact_cost_weight * after.cfrc_ext.square().sum((1, 2))
        return {
            "forward": forward_reward_weight * velocity,
            "healthy": healthy_reward * healthy(after),
            "control": -ctrl_cost_weight * command.square().sum(1),
            "contact": -contact.clamp(max=LARGEST_COST),
        }

    bodies = model.nbody - 1
    blocks = {
        "cinert": 10 * bodies,
        "cvel": 6 * bodies,
        "qfrc_actuator": model.nv - FREE,
        "cfrc_ext": 6 * bodies,
    }
    return TensorTask(
        id=f"gymnasium/{ID}",
        model=model,
        file=gymnasium_file("humanoid.xml"),
        frame_skip=frame_skip,
        time_limit=1000,
        bounds=actuator_bounds(model),
        layout=layout_of(ID, model, skipped=2, **blocks),
        fields=("qpos", "qvel", "xipos", "cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
        reset=reset,
        observe=observe,
        reward=reward,
        terminated=lambda state: ~healthy(state),
    )
