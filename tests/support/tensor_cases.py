"""A small tensor task with a memory and models that differ by world, and how to break one of its worlds."""

import mujoco
import torch

from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds, ObservationField
from acer_robot.tasks.tensor.batch_simulator import BatchSimulator
from acer_robot.tasks.tensor.draws import uniform
from acer_robot.tasks.tensor.spec import describe
from acer_robot.tasks.tensor.task import TensorTask
from acer_robot.tasks.tensor.vector_task import TensorVectorTask

CART = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body name="cart"><joint name="rail" type="slide" axis="1 0 0"/><geom type="sphere" size=".1" mass="1"/></body>
  </worldbody>
  <actuator><motor joint="rail" ctrlrange="-1 1" gear="10"/></actuator>
</mujoco>
"""
FAR = 0.3
"""Distance in m at which an episode of the cart ends."""


def cart(time_limit=20, mass=(0.5, 2.0)):
    """Follow a speed that is drawn with each episode and again in each tenth step; the mass differs by episode."""

    def begin(count, generator):
        drawn = uniform(count, 1, 1.0, generator)
        return {"speed": drawn, "last": torch.zeros(count, 1), "count": torch.zeros(count, dtype=torch.int64)}

    def remember(after, command, generator):
        memory, count = after.memory, after.memory["count"] + 1
        again = uniform(len(count), 1, 1.0, generator)
        speed = torch.where((count % 10 == 0).unsqueeze(1), again, memory["speed"])
        return {"speed": speed, "last": command.float(), "count": count}

    def reward(before, command, after):
        return {
            "speed": -(after.qvel[:, 0] - before.memory["speed"][:, 0]).abs(),
            "change": -0.1 * (command - before.memory["last"])[:, 0].abs(),
        }

    def randomize(count, generator):
        low, high = mass
        share = torch.rand(count, 1, generator=generator, device=generator.device, dtype=torch.float64)
        fixed = torch.zeros_like(share)
        return {"body_mass": torch.cat([fixed, low + share * (high - low)], dim=1)}

    return TensorTask(
        id="cart",
        model=mujoco.MjModel.from_xml_string(CART),
        frame_skip=2,
        time_limit=time_limit,
        bounds=ActionBounds(("rail",), (-1.0,), (1.0,)),
        layout=(
            ObservationField("position:rail", 0, 1, "m"),
            ObservationField("velocity:rail", 1, 2, "m/s"),
            ObservationField("command:speed", 2, 3, "m/s"),
            ObservationField("last command", 3, 4),
        ),
        fields=("qpos", "qvel"),
        reset=lambda count, generator: (
            uniform(count, 1, 0.1, generator),
            torch.zeros(count, 1, device=generator.device),
        ),
        observe=lambda state: torch.cat(
            [state.qpos, state.qvel, state.memory["speed"], state.memory["last"]], 1
        ),
        reward=reward,
        terminated=lambda state: state.qpos[:, 0].abs() > FAR,
        begin=begin,
        remember=remember,
        randomize=randomize,
    )


def worlds(task, count, seed=0, spread=False, quiet=False, **options):
    """Return `count` worlds of a task on mujoco.batch."""
    spec = describe(task, TaskConfig("robot", "cart", backend="batch", **options))
    simulator = BatchSimulator(task.model, count, 1, task.fields)
    return TensorVectorTask(task, spec, simulator, count, seed, spread, quiet=quiet)


def commands(count, steps, seed=0):
    """Return commands [steps, count, 1] that hold their sign for some steps."""
    random = torch.Generator().manual_seed(seed)
    signs = torch.rand(steps // 8 + 1, count, 1, generator=random, dtype=torch.float64) * 2.0 - 1.0
    return signs.repeat_interleave(8, dim=0)[:steps]
