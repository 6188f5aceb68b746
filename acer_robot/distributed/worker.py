"""A worker: environments of its own, stepped with the learner's newest weights, one segment for each request."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import numpy as np
import torch

from acer_robot.distributed.segment import Segment, Weights, load_weights
from acer_robot.experience.collector import Collector
from acer_robot.experience.replay import Replay
from acer_robot.experience.seeds import independent_seeds
from acer_robot.policies.build import build_actor
from acer_robot.policies.normalizer import ObservationNormalizer
from acer_robot.policies.policy import Policy
from acer_robot.run_folder.checkpoints import config_from_dict
from acer_robot.tasks import make_task

SAME_EVERYWHERE = ("acer-robot", "mujoco", "torch")
"""Distributions whose versions must be the learner's: they decide what a step computes."""


def versions() -> dict[str, str]:
    """Return the versions of SAME_EVERYWHERE in this process."""
    return {name: metadata.version(name) for name in SAME_EVERYWHERE}


class Worker:
    """E environments, a copy of the policy, and room for one segment."""

    def __init__(self, config: dict[str, Any], slot: int, incarnation: int) -> None:
        """Build the environments.

        Args:
            config: `dataclasses.asdict` of the run's TrainConfig.
            slot: number of the worker.
            incarnation: how often it was replaced. Each incarnation has random streams of its own.
        """
        torch.set_num_threads(1)
        options = config_from_dict(config)
        self._incarnation, self._version = incarnation, -1
        seeds = independent_seeds(options.seed)
        num_envs = options.num_envs // options.collector.workers
        seed, device = worker_seed(seeds.environments, slot, incarnation), torch.device("cpu")
        self._task = make_task(options.task, num_envs, seed, training_on=device)
        spec = self._task.spec
        self._steps = segment_steps(options.collector.synchronous, options.collector.segment_length)
        self._room = Replay(
            self._steps * num_envs, num_envs, spec.input_size, spec.action_size, self._steps, device
        )
        self._policy = Policy(
            ObservationNormalizer(spec.input_size, options.learner.normalize_observations),
            build_actor(options.learner, spec.input_size, spec.action_size),
        ).to(torch.float32)
        exploration = worker_seed(seeds.exploration, slot, incarnation)
        self._collector = Collector(self._task, self._policy, self._room, device, exploration)

    def hello(self) -> dict[str, Any]:
        """Return what the learner compares with its own: versions and task; and where the worker runs."""
        return {
            "incarnation": self._incarnation,
            "versions": versions(),
            "spec": self._task.spec.to_dict(),
            "where": f"process {os.getpid()} on {platform.node()}",
        }

    def collect(self, sequence: int, version: int, weights: Weights | None) -> dict[str, Any]:
        """Take the steps of one segment and return `Segment.content`.

        Args:
            sequence: number of the request, which the segment carries.
            version: updates that the learner had done when it sent the weights.
            weights: the weights of that version; None: the worker has them.

        Raises:
            TaskError, NonFiniteError: if an environment fails.
        """
        if weights is not None:
            load_weights(self._policy, weights)
            self._version = version
        before, returns = self._collector.env_steps, []
        for _ in range(self._steps):
            returns += self._collector.step()
        rows = torch.cat([part.clone() for part in self._room.rows(self._room.oldest, self._steps)])
        return Segment(
            self._incarnation,
            sequence,
            self._version,
            rows.numpy(),
            self._collector.env_steps - before,
            np.array(returns, np.float64),
            self._collector.numbers(),
        ).content()


def segment_steps(synchronous: bool, segment_length: int) -> int:
    """Return how many steps of each environment a segment has."""
    return 1 if synchronous else segment_length


def worker_seed(stream: int, slot: int, incarnation: int) -> int:
    """Return the seed of a worker's random stream; the first worker begins with the local collector's.

    >>> worker_seed(7, 0, 0)
    7
    >>> len({worker_seed(7, slot, incarnation) for slot in range(3) for incarnation in range(3)})
    9
    """
    if slot == incarnation == 0:
        return stream
    return int(np.random.SeedSequence([stream, slot + 1, incarnation + 1]).generate_state(1)[0] >> 1)
