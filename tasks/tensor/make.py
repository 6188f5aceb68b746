"""From options to the worlds of a tensor task."""

from __future__ import annotations

import torch

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec, to_command
from acer_robot.tasks.model.cameras import TRACKING
from acer_robot.tasks.tensor.batch_simulator import BatchSimulator
from acer_robot.tasks.tensor.pictures import Pictures
from acer_robot.tasks.tensor.spec import describe
from acer_robot.tasks.tensor.task import TensorTask
from acer_robot.tasks.tensor.vector_task import TensorVectorTask
from acer_robot.tasks.tensor.warp_simulator import WarpSimulator, check_warp

SPREAD_FROM = 256
"""Number of worlds in training from which their first episodes begin at random times before the time limit. Else all of
them would reach it in the same step, again and again."""
TRIED_WORLDS, TRIED_STEPS = 4, 5
"""Worlds and steps with random commands that are tried before the others are made."""


def make_tensor_task(
    task: TensorTask,
    config: TaskConfig,
    num_envs: int,
    seed: int,
    render_size: tuple[int, int] | None = None,
    camera: str = TRACKING,
    training_on: torch.device | None = None,
) -> TensorVectorTask:
    """Make `num_envs` worlds of a task; see `make_task`.

    Raises:
        InputError: if an option does not fit, or its simulation is unstable from the start.
    """
    if config.action_repeat != 1:
        steps = config.action_repeat * task.frame_skip
        seconds = float(f"{steps * task.model.opt.timestep:.9g}")
        longer = f"control_dt: {seconds}" if config.suite == "robot" else f"frame_skip: {steps}"
        raise InputError(
            f"task.action_repeat={config.action_repeat} cannot be had with task.backend={config.backend}; hold "
            f"commands for more physics steps: task.kwargs={{{longer}}}"
        )
    spec = describe(task, config)
    pictures = Pictures(task.model, render_size, camera, spec.id) if render_size is not None else None
    check_stable(task, spec)
    simulator = _simulator(task, spec, num_envs, training_on if config.backend == "warp" else None)
    spread = training_on is not None and num_envs >= SPREAD_FROM
    return TensorVectorTask(task, spec, simulator, num_envs, seed, spread, pictures)


def _simulator(
    task: TensorTask, spec: TaskSpec, num_envs: int, device: torch.device | None
) -> BatchSimulator | WarpSimulator:
    """Return worlds of mujoco_warp on `device`, or of mujoco.batch where there is no device."""
    if device is None:
        return BatchSimulator(
            task.model, num_envs, min(torch.get_num_threads(), num_envs), task.fields, task.start
        )
    check_warp()
    if spec.observes_last_command and device.type != "cpu":
        raise InputError(
            "task.slew_rate and task.low_pass_hz cannot be had with task.backend=warp; use task.backend=batch"
        )
    room = (task.max_contacts, task.max_constraints)
    return WarpSimulator(task.model, num_envs, device, task.fields, task.start, *room)


def check_stable(task: TensorTask, spec: TaskSpec) -> None:
    """Raise InputError if most worlds break down within a few steps of random commands."""
    simulator = BatchSimulator(task.model, TRIED_WORLDS, 1, task.fields, task.start)
    trial = TensorVectorTask(task, spec, simulator, TRIED_WORLDS, 0, spread=False, quiet=True)
    low, high = (torch.tensor(limit, dtype=torch.float64) for limit in (spec.bounds.low, spec.bounds.high))
    random = torch.Generator().manual_seed(0)
    broken = torch.zeros(TRIED_WORLDS, dtype=torch.bool)
    try:
        trial.reset()
    except NonFiniteError as error:
        raise InputError(f"task.id={spec.id} cannot start: {error}; mend its reset") from error
    for _ in range(TRIED_STEPS):
        shape = (TRIED_WORLDS, spec.action_size)
        canonical = 2.0 * torch.rand(shape, generator=random, dtype=torch.float64) - 1.0
        failed = trial.step(to_command(canonical, low, high)).failed
        assert failed is not None
        broken |= failed
    if broken.float().mean() > 0.5:
        raise InputError(
            f"task.id={spec.id}: {int(broken.sum())} of {TRIED_WORLDS} worlds become unstable within {TRIED_STEPS} "
            f"steps of random commands; give the model a smaller timestep, or narrower limits: task.bounds"
        )
