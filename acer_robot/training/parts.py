"""The parts of a run: what it remembers, how it is saved, and how a part is made anew."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acer_robot.errors import TaskError
from acer_robot.experience.collector import Collector
from acer_robot.experience.replay import Replay
from acer_robot.experience.seeds import independent_seeds, seed_at
from acer_robot.experience.update_counter import Batches
from acer_robot.learner.batch import Trajectory
from acer_robot.learner.diagnostics import check_finite, summarise
from acer_robot.learner.gradients import Diagnostics
from acer_robot.learner.learner import Learner
from acer_robot.provenance import Software, this_software
from acer_robot.run_folder.background import BackgroundWriter
from acer_robot.run_folder.checkpoints import save_checkpoint
from acer_robot.run_folder.layout import write_traceback
from acer_robot.run_folder.replay_files import Files, new_rows, remove_rows, write_rows
from acer_robot.schema import TrainConfig
from acer_robot.tasks import VectorTask, make_training_task
from acer_robot.training.resume import run_state, task_state
from acer_robot.training.timing import Every, Stopwatch

if TYPE_CHECKING:
    from acer_robot.distributed.evaluation import Evaluations
    from acer_robot.distributed.remote_collector import RemoteCollector


@dataclass
class Run:
    """The parts of a training run."""

    config: TrainConfig
    device: torch.device
    task: VectorTask
    evaluation_task: VectorTask
    learner: Learner
    replay: Replay
    collector: Collector | RemoteCollector
    batches: Batches
    log_due: Every
    evaluation_due: Every
    evaluations: Evaluations | None = None
    """Evaluations beside training; None: training waits for each."""
    software: Software = field(default_factory=this_software)
    """The code that trains, as it was when the run began."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    good: tuple[int, dict[str, Any]] = (0, {})
    """Environment step and state of the learner when all of its numbers were last seen to be finite."""

    task_before: dict[str, Any] = field(default_factory=lambda: {"missing": "training had not begun"})
    """State of the environments before the collector's remembered commands; or why there is none."""

    batch: Trajectory | None = None
    """What the last update learnt from."""

    rebuilds: int = 0
    """How often the environments were made anew because one failed."""

    outliers: int = 0
    """Outliers of the observations that were reported."""

    seen: Diagnostics | None = None
    """Diagnostics of the last update; None before the first."""

    numbers: dict[str, float] = field(default_factory=dict)
    """Numbers of the last update that was looked at."""

    best: float = -math.inf
    """Highest return of the exported policy in an evaluation."""

    evaluation_pending: bool = False
    """Whether an evaluation is due at the present step and not in eval.csv yet."""

    is_whole: bool = False
    """Whether the run was left between two steps, so that it can go on from its present state."""

    lost_episodes: str = ""
    """Why the environments that failed have no state to go on from; nothing while none has failed."""

    saved: int = -1
    """Environment step of the newest checkpoint."""

    latest_is_whole: bool = True
    """Whether a run can go on from `latest`; if not, it is not kept beside its successor."""

    saved_at: float = field(default_factory=time.monotonic)
    """Time of the newest checkpoint."""

    writer: BackgroundWriter = field(default_factory=BackgroundWriter)
    """Writes checkpoints beside training."""

    replay_files: Files = field(default_factory=list)
    """Files that make up the replay of the newest checkpoint."""

    oldest_rows: deque[int] = field(default_factory=deque)
    """Number of the replay's oldest row in each checkpoint that is kept, the newest last."""

    def update(self) -> None:
        """Do the updates that are due after the collector's last step."""
        for batch in self.batches.due(self.collector.transitions):
            self.batch, self.seen = batch, self.learner.update(batch)
            self.replay.learnt(self.seen.ascent.error)

    def mark_good(self) -> None:
        """Remember the learner's present state as one to go back to."""
        self.good = (self.collector.env_steps, self.learner.checkpoint_state())

    def mark_task(self) -> None:
        """Remember the environments' present state, from which the next commands can be repeated."""
        self.task_before = task_state(self.task)
        self.collector.commands.clear()

    def check(self) -> dict[str, float]:
        """Return the numbers of the last update, none before the first; the learner is good if all is finite.

        Raises:
            NonFiniteError: if one of them, or a number that the learner holds, is not.
        """
        if self.seen is not None:
            self.numbers = summarise(self.seen, self.learner, self.collector.env_steps)
        check_finite(self.learner, self.collector.env_steps)
        self.mark_good()
        return self.numbers

    @property
    def checkpoint_due(self) -> bool:
        """Whether the newest checkpoint is `checkpoint.every_minutes` old."""
        return time.monotonic() - self.saved_at >= 60.0 * self.config.checkpoint.every_minutes

    def checkpoint(self, log_state: dict[str, Any], average_return: float = -math.inf) -> None:
        """Write the present state as `latest`, and the learner as `best` if no evaluation was higher.

        The state must be a checked one, between two steps. Before the first update nothing is written. The state is
        copied here, and written by a thread while training goes on: `writer.wait` waits for it.

        Raises:
            OSError: naming the file, if the checkpoint before could not be written.
        """
        if not self.learner.updates:
            return
        options, run_dir = self.config.checkpoint, Path(self.config.run_dir)
        self.returns.extend(self.collector.finished())
        with self.watch.paused():
            self.writer.wait()
            if is_best := average_return >= self.best and math.isfinite(average_return):
                self.best = average_return
            rows = new_rows(run_dir, self.replay, self.replay_files) if options.replay else None
            self.oldest_rows = deque([*self.oldest_rows, self.replay.oldest], maxlen=options.keep + 1)
            (step, state), resume, oldest = self.good, run_state(self, log_state), min(self.oldest_rows)
            resume["is_best"] = is_best

        def write() -> None:
            if rows is not None:
                resume["replay"]["files"] = self.replay_files = write_rows(run_dir, rows)
            self.save("latest", step, state, resume)
            if is_best:
                self.save("best", step, state)
            remove_rows(run_dir, oldest)

        self.writer.start(write)
        self.saved_at = time.monotonic()

    def save(self, name: str, step: int, state: dict[str, Any], resume: dict[str, Any] | None = None) -> Path:
        """Write checkpoints/<name>.pt of the run folder."""
        run_dir, spec = Path(self.config.run_dir), self.task.spec
        keep = self.config.checkpoint.keep if name == "latest" and self.latest_is_whole else None
        path = save_checkpoint(run_dir, state, self.config, spec, step, name, self.software, resume, keep)
        if name == "latest":
            self.saved, self.latest_is_whole = step, resume is not None
        return path

    def start_episodes(self, step: int, attempt: int = 0) -> None:
        """Replace the environments of training by new ones, whose seeds follow from the run's seed and the step."""
        self.task.close()
        seeds = independent_seeds(self.config.seed)
        config, seed = self.config, seed_at(seeds.environments, step, attempt)
        self.task = make_training_task(
            config.task, config.num_envs, seed, config.step_timeout, training_on=self.device
        )
        self.collector = Collector(
            self.task, self.learner.policy, self.replay, self.device, seeds.exploration
        )

    def close(self) -> None:
        """End workers and the thread that writes, and free all environments."""
        self.writer.close()
        if self.evaluations is not None:
            self.evaluations.close()
        self.collector.close()
        self.task.close()
        self.evaluation_task.close()

    def count_rebuild(self, error: TaskError) -> str:
        """Return a line that says that environments are made anew after one failed.

        Raises:
            TaskError: the same, if it is not to be done or was done too often.
        """
        config = self.config
        if config.on_environment_error != "rebuild" or self.rebuilds >= config.max_rebuilds:
            raise error
        self.rebuilds += 1
        write_traceback(Path(config.run_dir), error)
        return f"{error}; the environments are made anew ({self.rebuilds} of at most {config.max_rebuilds} times)"

    def rebuild(self) -> None:
        """Make the environments of training anew; their present episodes are dropped. Of workers, those that failed."""
        if not isinstance(self.collector, Collector):
            self.collector.rebuild()
            if self.config.collector.synchronous:
                self.replay.cut()
            return
        state = self.collector.state()
        self.start_episodes(self.collector.env_steps, self.rebuilds)
        self.collector.restore(state, episodes=False)
        self.replay.cut()
        self.mark_task()

    def skip_streams_of(self, former: Run) -> None:
        """Let new workers draw from none of the random streams that those of a former attempt had."""
        if not isinstance(self.collector, Collector) and not isinstance(former.collector, Collector):
            self.collector.skip(former.collector.incarnations)

    def change_streams(self, attempt: int) -> None:
        """Go on from the present state with other random numbers and new episodes; workers are new already."""
        if isinstance(self.collector, Collector):
            state = self.collector.state()
            self.start_episodes(self.collector.env_steps, attempt)
            self.collector.restore(state, episodes=False)
            self.replay.cut()
        self.reseed(attempt)

    def reseed(self, attempt: int = 0) -> None:
        """Go on with other random numbers in exploration, replay and updates; workers are new already."""
        seeds, step = independent_seeds(self.config.seed), self.collector.env_steps
        if isinstance(self.collector, Collector):
            self.collector.reseed(seed_at(seeds.exploration, step, attempt))
        self.replay.reseed(seed_at(seeds.replay, step, attempt))
        if self.learner.generator is not None:
            self.learner.generator.manual_seed(seed_at(seeds.learner, step, attempt))

    def start_evaluations(self) -> None:
        """Replace the environments of evaluations by new ones."""
        self.evaluation_task.close()
        seed = independent_seeds(self.config.seed).evaluation
        config = self.config
        self.evaluation_task = make_training_task(
            config.task, config.eval_episodes, seed, config.step_timeout
        )
