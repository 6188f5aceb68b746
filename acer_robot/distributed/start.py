"""From a run's options to its collector and its evaluations in other processes."""

from __future__ import annotations

from acer_robot.distributed.evaluation import Evaluations
from acer_robot.distributed.processes import ProcessEvaluations, ProcessWorkers
from acer_robot.distributed.ray_evaluations import RayEvaluations
from acer_robot.distributed.ray_workers import RayWorkers
from acer_robot.distributed.remote_collector import RemoteCollector, Workers
from acer_robot.experience.replay import Replay
from acer_robot.learner.learner import Learner
from acer_robot.schema import TrainConfig
from acer_robot.spec import TaskSpec


def remote_collector(
    config: TrainConfig, spec: TaskSpec, learner: Learner, replay: Replay, is_new: bool
) -> RemoteCollector:
    """Return the collector, whose workers are started if the run is a new one; connect to the cluster, if there is one.

    Raises:
        InputError: if there is no cluster, or a worker cannot start or does not fit.
    """
    workers: Workers = RayWorkers(config) if config.collector.kind == "ray" else ProcessWorkers(config)
    collector = RemoteCollector(config, spec, learner, replay, workers)
    if is_new:
        try:
            collector.start()
        except BaseException:
            collector.close()
            raise
    return collector


def remote_evaluations(config: TrainConfig) -> Evaluations | None:
    """Return the evaluations of a run; None for a synchronous one, which waits for each in the learner's process."""
    if config.collector.synchronous:
        return None
    return RayEvaluations(config) if config.collector.kind == "ray" else ProcessEvaluations(config)
