"""Evaluations as tasks of a Ray cluster."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

from acer_robot.distributed.cluster import connect
from acer_robot.distributed.evaluation import RETRIES, Evaluation, evaluate
from acer_robot.distributed.ray_workers import answer_of
from acer_robot.distributed.remote_collector import WorkerLost
from acer_robot.distributed.segment import weights_of
from acer_robot.errors import TaskError
from acer_robot.learner.learner import Learner
from acer_robot.schema import TrainConfig


class RayEvaluations:
    """Evaluations as Ray tasks."""

    def __init__(self, config: TrainConfig) -> None:
        self._ray = connect(config.collector)
        self._config = dataclasses.asdict(config)
        # It asks for no CPU: where workers have them all, it would wait for ever.
        how = {"num_cpus": 0, "scheduling_strategy": "SPREAD", "max_retries": RETRIES}
        self._task: Any = self._ray.remote(**how)(evaluate)
        self._open: deque[Evaluation] = deque()

    def __len__(self) -> int:
        """Return how many are on their way."""
        return len(self._open)

    def begin(self, step: int, seconds: float, seed: int, learner: Learner, state: dict[str, Any]) -> None:
        """Send the present policies out to be evaluated."""
        order = (self._config, seed, weights_of(learner.exported_policy), weights_of(learner.policy))
        self._open.append(Evaluation(step, seconds, state, order, self._task.remote(*order)))

    def repeat(self) -> None:
        """Send the oldest evaluation out again, since it failed."""
        first = self._open[0]
        first.ticket = self._task.remote(*first.order)

    def finished(self, seconds: float = 0.0) -> Evaluation | None:
        """Return the oldest evaluation if its result is there within `seconds`; it is then no longer on its way.

        One that failed stays: `repeat` sends it out again.

        Raises:
            TaskError: if an environment failed, or the process was lost RETRIES times.
            InputError: if an episode does not end.
        """
        if not self._open:
            return None
        first = self._open[0]
        if not self._ray.wait([first.ticket], timeout=seconds)[0]:
            return None
        try:
            numbers = answer_of(lambda: self._ray.get(first.ticket))
        except WorkerLost as error:
            raise TaskError(f"the evaluation of step {first.step:,} was lost: {error}") from error
        self._open.popleft()
        first.row = {"seconds": first.seconds, **numbers}
        return first

    def close(self) -> None:
        """Drop what is on its way."""
        for evaluation in self._open:
            self._ray.cancel(evaluation.ticket, force=True)
        self._open.clear()
