"""A run that goes on: which options may change, which checkpoint is taken, and the state beside the learner's."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.experience.collector import Collector
from acer_robot.experience.seeds import process_streams, restore_process_streams
from acer_robot.run_folder.checkpoints import (
    config_from_dict,
    former_checkpoints,
    read_checkpoint,
    read_content,
    retired_in_use,
)
from acer_robot.run_folder.layout import clear_unlearnt, has_checkpoint
from acer_robot.run_folder.owner import is_owned, owned
from acer_robot.run_folder.replay_files import DamagedReplayError, is_freed, read_rows
from acer_robot.run_folder.status import read_status
from acer_robot.schema import TrainConfig, WandbConfig
from acer_robot.shell import typed
from acer_robot.tasks import absolute_files
from acer_robot.training.validate import check_texts

if TYPE_CHECKING:
    from acer_robot.training.parts import Run

FORMAT = 1
"""Version of what a checkpoint holds for a run to go on. Version 0.2.0 of acer-robot reads 1."""

MAY_CHANGE = {
    "steps": "the new total of environment steps",
    "threads": "numbers may differ in the last bits",
    "device": "numbers differ in the last bits; between CPU and CUDA the random streams are new",
    "learner.compile": "numbers differ in the last bits",
    "learner.precision": "numbers differ in the last bits; not from or to bf16",
    "eval_every": "nothing that is learnt depends on it",
    "eval_episodes": "nothing that is learnt depends on it",
    "eval_online": "nothing that is learnt depends on it",
    "log_every": "nothing that is learnt depends on it",
    "tensorboard": "where and how reports go",
    "on_divergence": "nothing, as long as all numbers are finite",
    "max_rollbacks": "nothing, as long as all numbers are finite",
    "on_environment_error": "nothing, as long as no environment fails",
    "max_rebuilds": "nothing, as long as no environment fails",
    "step_timeout": "nothing, as long as no environment fails",
    "task.workers": "nothing that is learnt depends on it",
    "hand_over": "what is left at the end",
    "video": "what is left at the end",
    **{f"wandb.{field.name}": "where and how reports go" for field in dataclasses.fields(WandbConfig)},
    "collector.address": "where the workers run",
    "collector.ahead": "how old the weights are that act",
    "collector.max_staleness": "how old the weights may be that act",
    "collector.timeout": "when a worker counts as lost",
    "collector.retries": "how often a worker is replaced",
    "collector.dashboard": "what Ray starts",
    "checkpoint.replay": "what is left for the next time",
    "checkpoint.every_minutes": "what is left for the next time",
    "checkpoint.keep": "what is left for the next time",
}
"""Options that may change when a run goes on, with what that means. Any other would make it another run."""

_LEFT_TO_THE_RUN = {"learner.compile": None, "learner.precision": "auto"}
"""Options with the value by which a run decides for itself at its start. It records what it took, and keeps it."""

_ROUNDED = ("learner.precision", "bf16")
"""A value that changes more than the last bits: a run neither leaves it nor turns to it."""

_OF_THIS_CALL = ("resume", "init_from", "run_dir", "sweep_dir")


@dataclass(frozen=True)
class Point:
    """A whole checkpoint that a run can go on from."""

    path: Path
    content: dict[str, Any]

    @property
    def step(self) -> int:
        """Environment steps so far."""
        return int(self.content["steps"])

    @property
    def resume(self) -> dict[str, Any]:
        """State of everything but the learner."""
        return self.content["resume"]  # type: ignore[no-any-return]


def resumed_config(config: TrainConfig, given: Iterable[str]) -> TrainConfig:
    """Return the options of the run that `config.resume` names, with those that were given and may change.

    Where `config.resume` is "auto" and there is no such run, the options are those of a new run. Options without
    `resume` are returned as they are.

    Args:
        config: the options of this call.
        given: names of the options that were typed: "steps", "learner.lr", or a group such as "task".

    Raises:
        InputError: if there is no such run, or an option was given that must not change.
    """
    if config.resume is None:
        return config
    check_texts(config)
    if config.init_from is not None:
        raise InputError("init_from begins a new run and resume goes on with one; give one of them")
    if config.resume == "auto":
        found = newest_unfinished(config)
        if found is None:
            _clear_own_folder(config)
            print(
                f"resume=auto: no unfinished run with these options beside {config.run_dir}; a new one starts"
            )
            return dataclasses.replace(config, resume=None)
        print(f"resume=auto: {found} goes on")
        recorded, names = recorded_config(found), set(MAY_CHANGE)
    else:
        recorded = recorded_config(Path(config.resume))
        names = _given_leaves(config, given)
        _check_given(config, recorded, names)
    changed = {name: _value(config, name) for name in names if name in MAY_CHANGE}
    changed = {name: value for name, value in changed.items() if not _is_left_open(name, value)}
    result = _with(recorded, changed)
    return dataclasses.replace(result, resume=result.run_dir)


def _check_given(config: TrainConfig, recorded: TrainConfig, names: set[str]) -> None:
    """Raise InputError for an option that was given, differs from the run's and must not change."""
    config = dataclasses.replace(config, task=absolute_files(config.task))
    for name in sorted(names, key=lambda name: (name != "task.id", name)):  # another task is named as one
        new, old = _value(config, name), _value(recorded, name)
        if name == "run_dir" and Path(new).absolute() != Path(old).absolute():
            raise InputError(
                f"run_dir={new} does not go with resume={old}, whose folder the run keeps; leave it out"
            )
        rounds = _ROUNDED in ((name, new), (name, old))
        may_change = (name in MAY_CHANGE and not rounds) or name in _OF_THIS_CALL or _is_left_open(name, new)
        if may_change or new == old:
            continue
        raise InputError(
            f"{name}={new!r} cannot be had: the run that goes on has {name}={old!r}, and all that it learnt rests on "
            f"that; a new run can begin with its networks: {typed('init_from', Path(recorded.run_dir))} {name}={new}. "
            f"These may change: {', '.join(MAY_CHANGE)} ({_ROUNDED[0]} not from or to {_ROUNDED[1]})"
        )


def _is_left_open(name: str, value: Any) -> bool:  # noqa: ANN401 (an option of any type)
    return name in _LEFT_TO_THE_RUN and value == _LEFT_TO_THE_RUN[name]


def _clear_own_folder(config: TrainConfig) -> None:
    """Clear the run folder where a run with the same options was stopped in it before its first checkpoint."""
    run_dir, wanted = Path(config.run_dir), _kept_options(config)
    if not (run_dir / "config.yaml").is_file() or has_checkpoint(run_dir):
        return
    with owned(run_dir):
        if read_status(run_dir) != "finished" and _kept_options(recorded_config(run_dir)) == wanted:
            clear_unlearnt(run_dir)


def newest_unfinished(config: TrainConfig) -> Path | None:
    """Return the newest unfinished run beside `config.run_dir` whose options are the same but for MAY_CHANGE."""
    wanted = _kept_options(config)
    found = []
    for path in Path(config.run_dir).parent.glob("*/checkpoints/latest.pt"):
        run_dir = path.parent.parent
        try:
            recorded, retired = _recorded(run_dir)
            same = not retired and _kept_options(recorded) == wanted
        except InputError as error:
            print(f"resume=auto: {run_dir} is left out: {error}", file=sys.stderr)
            continue
        if same and read_status(run_dir) != "finished" and not is_owned(run_dir):
            found.append((path.stat().st_mtime_ns, run_dir))
    return max(found)[1] if found else None


def recorded_config(run_dir: Path) -> TrainConfig:
    """Return the options in config.yaml of a run folder.

    Raises:
        InputError: if the file cannot be read.
    """
    return _recorded(run_dir)[0]


def _recorded(run_dir: Path) -> tuple[TrainConfig, list[str]]:
    """Return the options in config.yaml, and those with an effect that this version no longer has."""
    path = run_dir / "config.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        config, retired = config_from_dict(data), retired_in_use(data)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{run_dir} is not a run folder: it has no config.yaml; give the run_dir of acer-train"
        ) from error
    except (*DAMAGE, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    return dataclasses.replace(config, run_dir=str(run_dir)), retired


def _kept_options(config: TrainConfig) -> dict[str, Any]:
    """Return the options that must not change, and whether products are rounded, which must not either."""
    config = dataclasses.replace(config, task=absolute_files(config.task))
    options = {
        name: value for name, value in _leaves(config) if name not in MAY_CHANGE and name not in _OF_THIS_CALL
    }
    name, rounded = _ROUNDED
    return options | ({name: rounded} if _value(config, name) == rounded else {})


def point_of(config: TrainConfig) -> Point:
    """Return the newest whole checkpoint of the run in `config.run_dir`, which goes on with these options.

    Raises:
        InputError: if there is none, it is one of other options, or the run has come to its end.
    """
    run_dir = Path(config.run_dir)
    point = newest_point(run_dir)
    trained = config_from_dict(point.content["config"])
    kept, before = _kept_options(config), _kept_options(trained)
    for name in sorted(kept.keys() | before.keys()):
        if kept.get(name) != before.get(name):
            raise InputError(
                f"{run_dir / 'config.yaml'} has {name}={_value(config, name)!r}, and {point.path} was trained with "
                f"{_value(trained, name)!r}; restore config.yaml"
            )
    if point.step >= config.steps and (read_status(run_dir) == "finished" or config.steps < trained.steps):
        raise InputError(
            f"steps={config.steps} is the new total, and {run_dir} has {point.step} environment steps already; "
            f"give more: {typed('resume', run_dir)} steps={2 * point.step}"
        )
    return point


def newest_point(run_dir: Path) -> Point:
    """Return the newest whole checkpoint of a run that can go on; a line on stderr names each damaged one.

    Raises:
        InputError: if there is none.
    """
    return next(_points(run_dir))


def _points(run_dir: Path) -> Iterator[Point]:
    """Yield the whole checkpoints of a run, the newest first; a line on stderr names each damaged one.

    Raises:
        InputError: if there is none.
    """
    found, latest = False, run_dir / "checkpoints" / "latest.pt"
    numbers = former_checkpoints(latest)
    former = sorted(numbers, key=numbers.__getitem__)
    reasons = []
    for path in [latest, *former]:
        try:
            point = _point(path)
        except InputError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            print(f"{reason}; {path}, of step {point.step:,}, is used", file=sys.stderr)
        found, reasons = True, []
        yield point
    if not found:
        raise InputError(
            f"resume={run_dir} cannot go on: {reasons[0]}" if latest.exists() else
            f"resume={run_dir} cannot go on: there is no {latest}; give the folder of a run that has a checkpoint"
        )  # fmt: skip


def _point(path: Path) -> Point:
    """Return the checkpoint at `path`.

    Raises:
        InputError: if it is damaged, no run can go on from it, it was trained with an option that this version no
            longer has, or a file of its replay is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    content = read_content(path)
    if "resume" not in content:
        raise InputError(
            f"{path} has no state to go on from: it was written by a version before 0.2.0, or by a run that failed "
            "before its first whole checkpoint; init_from begins a new run with its networks"
        )
    if (version := content["resume"].get("format")) != FORMAT:
        raise InputError(
            f"{path} has a state of format {version!r}, and this version goes on from format {FORMAT}; use the version "
            f"that wrote it: {content['software']['versions']}"
        )
    if retired := retired_in_use(content["config"]):
        raise InputError(
            f"{path} was trained with {', '.join(retired)}, which this version no longer has; use the version that "
            "wrote it (environment.txt); here its policy can be evaluated and exported"
        )
    return Point(path, content)


def run_state(run: Run, log_state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of everything but the learner, between two steps: copies, which later steps do not change."""
    lost = {"missing": run.lost_episodes}
    # With an evaluation pending it was an environment of evaluations that failed.
    is_task_lost = bool(run.lost_episodes) and not run.evaluation_pending
    return {
        "format": FORMAT,
        "collector": run.collector.state(),
        "task": lost if is_task_lost else task_state(run.task),
        "evaluation_task": lost if run.lost_episodes else task_state(run.evaluation_task),
        "replay": {
            **run.replay.state(run.config.checkpoint.replay),
            "files": run.replay_files,
            "oldest": list(run.oldest_rows),
        },
        "batches": run.batches.state(),
        "log_due": run.log_due.state(),
        "evaluation_due": run.evaluation_due.state(),
        "evaluation_pending": run.evaluation_pending,
        "watch": run.watch.state(),
        "returns": list(run.returns),
        "numbers": run.numbers,
        "rebuilds": run.rebuilds,
        "best": run.best,
        "log": log_state,
        "process": process_streams(),
    }


def task_state(task: Any) -> dict[str, Any]:  # noqa: ANN401 (a VectorTask)
    """Return the state of a task, or why there is none."""
    try:
        return {"state": task.state()}
    except InputError as error:
        return {"missing": str(error)}


def restore_run(run: Run, point: Point) -> Point:
    """Put a run that was prepared with the same options into the state of a checkpoint; return the checkpoint.

    Where a file of its replay is damaged, a line says so and the checkpoint before is taken.

    Raises:
        InputError: if a part of the checkpoint does not fit, or the replay of every checkpoint is damaged.
    """
    try:
        _restore(run, point)
        return point
    except DamagedReplayError as error:
        for former in _points(Path(run.config.run_dir)):
            if former.step >= point.step:
                continue
            print(f"{error}; the checkpoint before, of step {former.step:,}, is tried", file=sys.stderr)
            with contextlib.suppress(DamagedReplayError):
                _restore(run, former)
                return former
        raise DamagedReplayError(
            f"{error}; resume with checkpoint.replay=false to go on with an empty replay"
        ) from error


def _restore(run: Run, point: Point) -> None:
    """Put a run into the state of a checkpoint, and say what starts fresh.

    Raises:
        InputError: if a part of the checkpoint does not fit; DamagedReplayError: if a file of its replay does not.
    """
    state, run_dir = point.resume, Path(run.config.run_dir)
    try:
        run.learner.restore(point.content["learner"])
        _restore_replay(run, state["replay"], run_dir)
        _restore_episodes(run, state, point.step)
        run.batches.restore(state["batches"])
        run.log_due.restore(state["log_due"], point.step)
        run.evaluation_due.restore(state["evaluation_due"], point.step)
        run.evaluation_pending = state["evaluation_pending"]
        run.watch.restore(state["watch"])
        run.returns.clear()
        run.returns.extend(state["returns"])
        run.numbers, run.best = state["numbers"], state["best"]
        restore_process_streams(state["process"])
        trained_on = torch.device(point.content["config"]["device"]).type
        if trained_on != run.device.type:
            run.reseed()
            print(
                f"the run was on {trained_on} before and is on {run.device.type} now, whose random numbers are others: "
                "exploration, replay and updates draw from new streams",
                flush=True,
            )
    except InputError:
        raise
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{point.path} does not fit together ({reason}); use another checkpoint") from error
    run.rebuilds = state.get("rebuilds", 0)
    run.outliers = int(run.collector.outliers.sum())
    run.mark_good()
    if state.get("is_best", False):
        _renew_best(run)
    run.saved, run.latest_is_whole = point.step, point.path.name == "latest.pt"
    print(f"{point.path}: goes on from environment step {point.step:,}", flush=True)
    versions = point.content["software"]["versions"]
    if versions != run.software.versions:
        print("the versions are others than before, so numbers may differ in the last bits", flush=True)
    if run.batches.missing:
        steps = run.batches.missing * run.replay.num_envs * run.config.task.action_repeat
        print(
            f"the replay was not kept: learning goes on after {steps:,} environment steps that refill it",
            flush=True,
        )


def _renew_best(run: Run) -> None:
    """Write `best` anew where the process was killed after the checkpoint, and before `best` was written."""
    try:
        step = read_checkpoint(Path(run.config.run_dir), "best")["steps"]
    except InputError:
        step = -1
    if step < run.good[0]:
        run.save("best", *run.good)


def _restore_replay(run: Run, state: dict[str, Any], run_dir: Path) -> None:
    run.oldest_rows.clear()
    run.oldest_rows.extend(state["oldest"])
    if not run.config.checkpoint.replay or not state["files"] or is_freed(run_dir):
        run.replay.restore(state, None)
        run.replay_files = []
        return
    oldest = state["added"] - min(state["size"], run.replay.capacity)
    run.replay.restore(state, read_rows(run_dir, state["files"], oldest))
    run.replay_files = list(state["files"])


def _restore_episodes(run: Run, state: dict[str, Any], step: int) -> None:
    """Restore the environments; where that cannot be done, start new episodes and say why."""
    if not isinstance(run.collector, Collector):
        run.collector.restore(state["collector"])
        if run.config.collector.synchronous:
            run.replay.cut()
        print(
            "the workers restart: their episodes and random streams are new, and segments and evaluations that were on "
            "their way are lost, so the numbers are not those of a run that was never stopped",
            flush=True,
        )
        return
    reason = state["task"].get("missing", "")
    if not reason:
        try:
            run.task.restore(state["task"]["state"])
        except InputError as error:
            reason = str(error)
    if reason:
        run.start_episodes(step)
        print(
            f"the episodes of training restart, since the state of an environment is not there: {reason}",
            flush=True,
        )
    assert isinstance(run.collector, Collector)
    run.collector.restore(state["collector"], episodes=not reason)
    if reason:
        run.replay.cut()
    evaluations = state["evaluation_task"].get("state")
    if evaluations:
        try:
            run.evaluation_task.restore(evaluations)
        except InputError:  # each evaluation starts anew in any case
            run.start_evaluations()


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (a dataclass)
    """Yield the dotted name and the value of each option."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _given_leaves(config: TrainConfig, given: Iterable[str]) -> set[str]:
    """Return the options that the given names stand for: `task` for all of its options, `task.kwargs.x` for kwargs."""
    leaves = [name for name, _ in _leaves(config)]
    found: set[str] = set()
    for name in given:
        if name == "experiment":  # it sets what it likes: what must not change must be as in the run
            found |= set(leaves) - MAY_CHANGE.keys() - set(_OF_THIS_CALL)
        found |= {
            leaf
            for leaf in leaves
            if leaf == name or leaf.startswith(f"{name}.") or name.startswith(f"{leaf}.")
        }
    return found


def _value(config: TrainConfig, name: str) -> Any:  # noqa: ANN401 (an option of any type)
    return reduce(getattr, name.split("."), config)


def _with(config: TrainConfig, changed: dict[str, Any]) -> TrainConfig:
    """Return the options with some changed, by dotted name."""
    for name, value in changed.items():
        group, _, leaf = name.rpartition(".")
        if group:
            value = dataclasses.replace(getattr(config, group), **{leaf: value})
        config = dataclasses.replace(config, **{group or leaf: value})
    return config
