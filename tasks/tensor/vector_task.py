"""B worlds of a tensor task behind the interface of all tasks."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acer_robot.errors import InputError, NonFiniteError
from acer_robot.rate_limit import CommandFilter
from acer_robot.spec import TaskSpec
from acer_robot.tasks.interface import Measured, StepResult
from acer_robot.tasks.model.measurements import Measurements
from acer_robot.tasks.model.moving_body import free_joint, moving_body
from acer_robot.tasks.tensor.batch_simulator import BatchSimulator
from acer_robot.tasks.tensor.pictures import Pictures
from acer_robot.tasks.tensor.task import Memory, State, TensorTask
from acer_robot.tasks.tensor.warp_simulator import WarpSimulator

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

FLOAT32_MAX = torch.finfo(torch.float32).max


class TensorVectorTask:
    """B worlds of a `TensorTask`, as a `VectorTask`. Use `make_task` to make one.

    A world whose numbers stop being finite, or that MuJoCo finds unstable, has *failed*: it starts a new episode, and
    `StepResult.failed` says so. What the failed step seemed to give is replaced by finite numbers and must not be used.
    """

    def __init__(
        self,
        task: TensorTask,
        spec: TaskSpec,
        simulator: BatchSimulator | WarpSimulator,
        num_envs: int,
        seed: int,
        spread: bool,
        pictures: Pictures | None = None,
        quiet: bool = False,
    ) -> None:
        """Take the parts.

        Args:
            task: model and functions.
            spec: what a policy must know about it.
            simulator: its worlds.
            num_envs: number of worlds B.
            seed: of the draws.
            spread: whether the first episodes begin at random times before the time limit.
            pictures: what draws world 0.
            quiet: whether the first world that fails is not named on stderr.
        """
        self.spec, self.num_envs, self.device = spec, num_envs, simulator.device
        self._task, self._simulator, self._pictures = task, simulator, pictures
        self._on_cpu = self.device.type == "cpu"
        """Whether reading a number from a tensor costs nothing. On a GPU it would stop the simulation."""
        self._spread, self._quiet = spread and task.time_limit > 0, quiet
        self._generator = torch.Generator(self.device)
        self._seed: int | None = _mixed(seed)
        self._filter = CommandFilter(spec, num_envs) if spec.observes_last_command else None
        limits = (torch.tensor(limit, dtype=torch.float64) for limit in (spec.bounds.low, spec.bounds.high))
        self._low, self._high = (limit.to(self.device) for limit in limits)
        self._elapsed = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._memory: Memory = {}
        self._before = State({}, {})
        self._observations = torch.zeros(num_envs, spec.input_size, device=self.device)
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._failed = torch.zeros((), dtype=torch.int64, device=self.device)
        self._overflows = self._failed.clone()
        self._had_no_room = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._shown: tuple[MjModel, MjData] | None = None
        self._measured: list[tuple[MjModel, MjData, Measurements]] = []
        """Copies of the first worlds, and what measures them, if somebody asked for it."""

    def reseed(self, seed: int) -> None:
        """Let the next reset start the random stream anew from `seed`, as in a task that was made with it."""
        self._seed = _mixed(seed)

    def reset(self) -> Tensor:
        """Start new episodes in all worlds and return their observations [B, n].

        The first call seeds the stream of draws; later calls continue it.

        Raises:
            TaskError: if MuJoCo fails.
            NonFiniteError: if an observation is not finite.
        """
        if self._seed is not None:
            self._generator.manual_seed(self._seed)
            self._seed = None
        self._elapsed.zero_()
        if self._spread:
            limit, shape = self._task.time_limit, (self.num_envs,)
            self._elapsed = torch.randint(limit, shape, generator=self._generator, device=self.device)
        self._memory = {}
        if self._filter is not None:
            self._filter.reset()
        self._observations = self._start(torch.ones(self.num_envs, dtype=torch.bool, device=self.device))
        if not bool(self._observations.isfinite().all()):
            world, entry = torch.argwhere(~self._observations.isfinite())[0].tolist()
            raise NonFiniteError(
                f"world {world} of {self.spec.id}: observation {entry} at the start is not finite"
            )
        self._remember_fields()
        self._show()
        return self._observations.clone()

    def _start(self, worlds: Tensor) -> Tensor:
        """Start new episodes where `worlds` [B] holds; return what all worlds observe then [B, n].

        Draws are for all worlds, so that no shape depends on how many episodes ended.
        """
        task, memory = self._task, self._memory
        model_fields = task.randomize(self.num_envs, self._generator)
        qpos, qvel = task.reset(self.num_envs, self._generator)
        drawn = task.begin(self.num_envs, self._generator)
        self._simulator.reset(worlds, qpos, qvel, model_fields)
        self._memory = {
            name: _chosen(worlds, values, memory[name]) if name in memory else values.clone()
            for name, values in drawn.items()
        }
        return self._with_last_command(task.observe(State(self._simulator.fields, self._memory)))

    def step(self, commands: Tensor) -> StepResult:
        """Apply commands [B, d] in the units of `spec.bounds` for one environment step.

        Raises:
            ValueError: if the shape is not [B, d].
            NonFiniteError: if a command is NaN. On a GPU the world fails instead.
            TaskError: if MuJoCo fails.
        """
        task, before = self._task, self._before
        command = self._admissible(commands)
        self._simulator.step(task.apply(before, command), task.frame_skip)
        fields = self._simulator.fields
        remembered = task.remember(State(fields, self._memory), command, self._generator)
        self._memory = {name: values.clone() for name, values in remembered.items()}
        after = State(fields, self._memory)
        terms = task.reward(before, command, after)
        rewards = torch.stack([values.to(torch.float64) for values in terms.values()]).sum(0)
        successors = self._with_last_command(task.observe(after))
        terminated = task.terminated(after).clone()
        failed = self._simulator.unstable() | ~_finite(successors).all(1) | ~_finite(rewards)
        self._elapsed += 1
        truncated = failed.clone()
        if task.time_limit:
            truncated |= self._elapsed >= task.time_limit
        terminated &= ~failed
        rewards = rewards.masked_fill(failed, 0.0)
        successors = torch.where(failed.unsqueeze(1), self._observations, successors)
        self._count(terms, failed)
        self._measure(terms)
        self._observations = self._next_episodes(terminated | truncated, successors)
        self._remember_fields()
        self._show()
        env_steps = torch.ones_like(self._elapsed)
        return StepResult(
            self._observations.clone(), successors, rewards, terminated, truncated, env_steps, failed
        )

    def _next_episodes(self, ended: Tensor, successors: Tensor) -> Tensor:
        """Start new episodes where `ended` [B] holds; return what all worlds observe then."""
        if self._on_cpu and not bool(ended.any()):
            return successors.clone()
        if self._filter is not None:
            self._filter.reset(ended.numpy())
        self._elapsed.masked_fill_(ended, 0)
        return _chosen(ended, self._start(ended), successors)

    def _count(self, terms: Mapping[str, Tensor], failed: Tensor) -> None:
        """Add to the numbers of the log row, and name the first world that fails."""
        if self._on_cpu and not self._quiet and bool(failed.any()) and not bool(self._failed):
            world = int(failed.nonzero()[0])
            print(
                f"world {world} of {self.spec.id} became unstable at step {int(self._elapsed[world])} of its episode: "
                f"it starts anew, and the step is not stored. task/failed_worlds in metrics.csv counts such worlds",
                file=sys.stderr,
                flush=True,
            )
        self._failed += failed.sum()
        self._overflows += (self._simulator.overflowed() & ~self._had_no_room).sum()
        self._had_no_room = self._simulator.overflowed().clone()
        for name, values in terms.items():
            mean = values.masked_fill(failed, 0.0).to(torch.float64).mean()
            self._sums[name] = self._sums[name] + mean if name in self._sums else mean
        self._steps += 1

    def measure(self, count: int) -> Callable[[], list[Measured]]:
        """Measure the first `count` worlds from now on; what is returned tells what the last command did."""
        import mujoco

        model = self._simulator.model
        self._measured = []
        for _ in range(count):
            world = copy.copy(model), mujoco.MjData(model)
            self._measured.append((*world, Measurements(world, self._task.feet)))
        measuring = [measurements for _, _, measurements in self._measured]
        return lambda: [measurements.latest for measurements in measuring]

    def _measure(self, terms: Mapping[str, Tensor]) -> None:
        """Measure worlds before their next episode may begin."""
        for world, (model, data, measurements) in enumerate(self._measured):
            self._simulator.world(world, model, data)
            measurements.begin()
            measurements.add({name: float(values[world]) for name, values in terms.items()})
            measurements.end()

    @property
    def unstable_steps(self) -> int:
        """0: a world that becomes unstable has failed, and `numbers` counts it."""
        return 0

    def numbers(self) -> dict[str, float]:
        """Return the mean of each reward term since the last call, and how many worlds broke down or had no room."""
        terms = {f"reward/{name}": float(total) / max(self._steps, 1) for name, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        counts = {"task/failed_worlds": float(self._failed), "task/overflows": float(self._overflows)}
        return {**terms, **counts}

    def _remember_fields(self) -> None:
        """Copy the simulator's fields, which the next step overwrites."""
        fields = {name: values.clone() for name, values in self._simulator.fields.items()}
        self._before = State(fields, {name: values.clone() for name, values in self._memory.items()})

    def _with_last_command(self, observed: Tensor) -> Tensor:
        """Return observations as float32, with the last command at their end where the policy observes it."""
        observed = observed.to(torch.float32, copy=True)
        if self._filter is None:
            return observed
        return torch.cat([observed, torch.from_numpy(self._filter.last).to(torch.float32)], dim=1)

    def _admissible(self, commands: Tensor) -> Tensor:
        """Clip commands [B, d] to the bounds and filter them."""
        expected = (self.num_envs, self.spec.action_size)
        if commands.shape != expected:
            raise ValueError(
                f"commands have shape {tuple(commands.shape)}; expected {expected}: environments, joints"
            )
        clipped = commands.to(self.device, torch.float64).clamp(self._low, self._high)
        if self._on_cpu and bool(clipped.isnan().any()):
            world, joint = torch.argwhere(clipped.isnan())[0].tolist()
            name = self.spec.bounds.names[joint]
            raise NonFiniteError(f"world {world} of {self.spec.id}: the command of joint {name!r} is NaN")
        if self._filter is not None:
            clipped = torch.from_numpy(self._filter(clipped.numpy())).clamp(self._low, self._high)
        return clipped

    def state(self) -> dict[str, Any]:
        """Return the state of all worlds, of the memory, of the draws and of the filter of commands."""
        return {
            "simulator": self._simulator.state(),
            "fields": dict(self._before.fields),
            "memory": {name: values.clone() for name, values in self._memory.items()},
            "generator": self._generator.get_state(),
            "elapsed": self._elapsed.clone(),
            "observations": self._observations.clone(),
            "filter": self._filter.state() if self._filter is not None else None,
            "seed": self._seed,
            "sums": dict(self._sums),
            "steps": self._steps,
            "failed": self._failed.clone(),
            "overflows": self._overflows.clone(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was called, in a task that was made with the same options and seed.

        Raises:
            InputError: if the state does not fit; the task is then of no use any more.
        """
        if "simulator" not in state or (state["filter"] is None) != (self._filter is None):
            raise InputError(
                f"the state is that of another task than {self.num_envs} worlds of {self.spec.id}"
            )
        if state["generator"].numel() != self._generator.get_state().numel():
            raise InputError(f"its random numbers are those of another kind of device than {self.device}")
        self._simulator.restore(state["simulator"])
        self._memory = {name: values.clone().to(self.device) for name, values in state["memory"].items()}
        fields = {name: values.clone().to(self.device) for name, values in state["fields"].items()}
        self._before = State(fields, {name: values.clone() for name, values in self._memory.items()})
        self._generator.set_state(state["generator"])
        self._elapsed = state["elapsed"].clone().to(self.device)
        self._observations = state["observations"].clone().to(self.device)
        if self._filter is not None:
            self._filter.restore(state["filter"])
        self._seed, self._steps = state["seed"], state["steps"]
        self._sums = {name: values.to(self.device) for name, values in state["sums"].items()}
        self._failed = state["failed"].clone().to(self.device)
        self._overflows = state["overflows"].clone().to(self.device)

    def simulation(self) -> tuple[MjModel, MjData]:
        """Return model and state of world 0 for pictures. They are copies, which each step and reset renews."""
        if self._shown is None:
            import mujoco

            self._shown = (copy.copy(self._simulator.model), mujoco.MjData(self._simulator.model))
        self._show()
        return self._shown

    def _show(self) -> None:
        if self._shown is not None:
            self._simulator.world(0, *self._shown)

    def add_velocity(self, change: npt.NDArray[np.float64]) -> None:
        """Change the velocities [nv] of world 0 at once, as a push does."""
        self._simulator.add_velocity(0, change)
        fields = dict(self._before.fields)
        if "qvel" in fields:  # `apply` may write it back, as a task with pushes does
            fields["qvel"] = fields["qvel"].clone()
            fields["qvel"][0] += torch.from_numpy(change).to(fields["qvel"])
            self._before = State(fields, self._before.memory)

    def position(self) -> npt.NDArray[np.float64] | None:
        """Return the centre of mass [3] in metres of world 0's robot; None: it has none that can move away."""
        model, data = self.simulation()
        body = moving_body(model)
        return None if body is None else np.array(data.subtree_com[body])

    def base_poses(self) -> Tensor:
        """Return place and quaternion [B, 7] of the free base of each world's robot.

        Raises:
            ValueError: if the robot has none.
        """
        base = free_joint(self._task.model)
        if base is None:
            raise ValueError(f"{self.spec.id} has no free base")
        at = int(self._task.model.jnt_qposadr[base])
        return self._before.qpos[:, at : at + 7].clone()

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture [H, W, 3] of world 0, if the task was made with a `render_size`."""
        if self._pictures is None:
            raise RuntimeError("this task was made without a render_size")
        return self._pictures.draw(*self.simulation())

    def close(self) -> None:
        """Free what draws."""
        if self._pictures is not None:
            self._pictures.close()


def _mixed(seed: int) -> int:
    """Return a seed whose neighbours have no stream in common with it."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)


def _chosen(worlds: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return the rows of `yes` [B, ..] where `worlds` [B] holds, and those of `no` elsewhere."""
    return torch.where(worlds.view(-1, *[1] * (no.dim() - 1)), yes.to(no.dtype), no)


def _finite(values: Tensor) -> Tensor:
    """Return where float32 can hold `values` as finite numbers."""
    return values.abs() <= FLOAT32_MAX
