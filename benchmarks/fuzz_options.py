"""Senseless values for every option of every command: each must be refused with one line that names the option.

    python benchmarks/fuzz_options.py [--command train]

Options are composed and checked as the command does, in one process; nothing is trained. A line is printed for each
fault: a value that is accepted, a traceback, a line that does not name the option, or a file that was created. The
last line counts them. The exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin, get_type_hints
from unittest import mock

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from incidents.faulty_runs import TINY, command
from omegaconf import DictConfig, OmegaConf

from acer_robot.commands import deploy, evaluate, export, play, render, report, runs, train
from acer_robot.commands.compose import check_empty, compose
from acer_robot.commands.error_lines import check_names, one_line
from acer_robot.commands.sweep import REFUSALS

VALUES: dict[str, list[str]] = {
    "int": ["nan", "inf", "-7", "1.5", "1e308", "99999999999999999999", "''", "lots", "ü", "[1]", "{a: 1}"],
    "float": ["nan", "inf", "-inf", "-1e6", "1e308", "''", "lots", "ü", "[1]", "{a: 1}"],
    "bool": ["nan", "''", "lots", "ü", "[true]", "{a: 1}"],
    "choice": ["nan", "''", "lots", "ü", "../../x", "[1]", "{a: 1}"],
    "existing": ["''", "lots", "ü", "../../x", "/dev/null", "[1]", "{a: 1}"],
    "writable": ["''", "/dev/null/x", "[1]", "{a: 1}"],
    "text": ["''", "[1]", "{a: 1}"],
    "list[float]": ["nan", "lots", "''", "{a: 1}", "[nan]", "[inf,0,0]", "[lots]", "[[]]", "[1]"],
    "list[int]": [
        "nan",
        "lots",
        "''",
        "{a: 1}",
        "[nan]",
        "[-1]",
        "[lots]",
        "[[]]",
        "[]",
        "[99999999999999999999]",
    ],
    "list[str]": ["nan", "lots", "''", "{a: 1}", "[[]]", "[{a: 1}]"],
    "dict": ["nan", "lots", "''", "[1]", "{nope: 1}", "{nope: nan}", "{nope: lots}", "{nope: [2]}"],
    "Any": ["nan", "inf", "-1", "lots", "''", "[1,2,3]", "{nope: 1}"],
}
"""Kind of option -> values that make no sense for it."""
EXISTING = (
    "resume",
    "init_from",
    "policy",
    "run",
    "free",
    "replay",
    "folder",
    "task.model",
    "plant",
    "policies",
    "runs",
)
"""Options that name something that must be there."""
WRITABLE = ("run_dir", "out", "log")
"""Options that name what is written."""
TEXT = (
    "wandb.project",
    "wandb.entity",
    "wandb.group",
    "wandb.name",
    "wandb.notes",
    "wandb.job_type",
    "wandb.tags",
)
"""Options that take almost any text."""
ALLOWED = {
    ("learner.c", "inf"), ("safety.far_limit", "inf"), ("safety.far_limit", "1e308"),
    ("wandb.name", "''"), ("wandb.notes", "''"), ("wandb.group", "''"),
    ("wandb.entity", "''"), ("wandb.job_type", "''"), ("wandb.tags", "''"),
}  # fmt: skip
"""Values that look senseless and are not."""


class Accepted(BaseException):
    """A command went on to its work."""


@contextlib.contextmanager
def no_work() -> Iterator[None]:
    """Let commands raise Accepted where their work begins, after all checks."""

    def accepted(*_: object, **__: object) -> None:
        raise Accepted

    places = (
        "acer_robot.deployment.export.create_folder", "acer_robot.deployment.score.run_rounds",
        "acer_robot.deployment.drive_job._driven", "acer_robot.reporting.video.Rollout",
        "acer_robot.tasks.cpu.viewer.LiveView",
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        for place in places:
            stack.enter_context(mock.patch(place, accepted))
        stack.enter_context(mock.patch("acer_robot.tasks.cpu.viewer.check_display"))
        yield


def _train(config: Any) -> None:
    from acer_robot.training.resume import resumed_config

    if config.resume is not None:
        config = resumed_config(config, ["resume"])
    train.check_job(config)
    if config.init_from is not None and not (Path(config.init_from) / "checkpoints").is_dir():
        from acer_robot.run_folder.checkpoints import load_run

        load_run(Path(config.init_from))


COMMANDS: dict[str, tuple[type[Any], Callable[[Any], object], list[str]]] = {
    "train": (train.TrainConfig, _train, ["task=gym", "task.id=Pendulum-v1", "run_dir=new"]),
    "evaluate": (evaluate.EvaluateConfig, evaluate._evaluate, ["policy=run"]),
    "export": (export.ExportConfig, export._export, ["run=run"]),
    "deploy": (deploy.DeployConfig, deploy._deploy, ["policy=run", "ramp=true", "rate=0"]),
    "render": (render.RenderConfig, render._render, ["policy=run"]),
    "play": (play.PlayConfig, play._play, ["policy=run"]),
    "report": (report.ReportConfig, report._report, ["run=run"]),
    "runs": (runs.RunsConfig, runs._command, []),
}
"""Command -> options, what checks them, and options that are needed."""


def leaves(schema: type[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the kind of each option."""
    for name, hint in get_type_hints(schema).items():
        if is_dataclass(hint):
            yield from leaves(cast(type[Any], hint), f"{prefix}{name}.")
        else:
            yield prefix + name, kind_of(prefix + name, hint)


def kind_of(name: str, hint: Any) -> str:
    """Return the key of VALUES for an option."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is dict:
        return "dict"
    if get_origin(hint) is list:
        return f"list[{get_args(hint)[0].__name__}]"
    if hint is not str:
        return getattr(hint, "__name__", "Any")
    return (
        "existing" if name in EXISTING
        else "writable" if name in WRITABLE
        else "text" if name in TEXT
        else "choice"
    )  # fmt: skip


def cases(name: str) -> list[tuple[str, str]]:
    """Return every option of a command with every value that makes no sense for it."""
    schema = COMMANDS[name][0]
    skipped = {"task.suite", "sweep_dir"}  # set by task=NAME, and by -m
    if name == "play":  # those of its tasks are the same as acer-train's
        skipped |= {option for option, _ in leaves(schema) if option.startswith("task.")} - {"task.velocity"}
    return [
        (option, value)
        for option, kind in leaves(schema)
        for value in VALUES[kind]
        if option not in skipped and (option, value) not in ALLOWED
    ]


class Fuzzed:
    """A command whose options are composed once, in the present folder."""

    def __init__(self, name: str) -> None:
        self.schema, self.body, given = COMMANDS[name]
        arguments = sys.argv
        sys.argv = [name, *given]
        try:
            (self.base,) = compose(name, self.schema, lambda _: None)
        finally:
            sys.argv = arguments

    def fault(self, name: str, value: str) -> str:
        """Return what is wrong with how a value is refused; nothing if it is as it should be."""
        before = sorted(Path().rglob("*"))
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                self.body(self._composed(f"{name}={value}"))
        except Accepted:
            return "accepted"
        except REFUSALS as error:
            line = one_line(error)
            if "\n" in line or len(line) > 2000:
                return f"not one line: {line[:200]}"
            if not any(
                part in line
                for part in (name.rpartition(".")[2], name.partition(".")[0], value.strip("'") or "?")
            ):
                return f"it does not name the option: {line[:200]}"
        except SystemExit as error:
            return f"it ended with status {error.code}"
        except Exception as error:  # noqa: BLE001 (whatever comes is what is looked for)
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            return "accepted"
        return "" if sorted(Path().rglob("*")) == before else "something was created"

    def _composed(self, override: str) -> Any:
        config = cast(DictConfig, copy.deepcopy(self.base))
        parsed = OverridesParser.create().parse_overrides([override])
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
        check_names(config, self.schema)
        check_empty(config, [override.partition("=")[0]])
        return OmegaConf.to_object(config)


def faults(name: str, every: int = 1) -> Iterator[tuple[str, str]]:
    """Yield each case of a command as text, with its fault or nothing; the present folder has a finished run "run"."""
    fuzzed = Fuzzed(name)
    with no_work():
        for option, value in cases(name)[::every]:
            yield f"{name} {option}={value}", fuzzed.fault(option, value)


def tiny_run(folder: Path) -> None:
    """Leave a finished run with an exported policy."""
    child = command(
        folder / "run.log", [f"run_dir='{folder / 'run'}'", *TINY, "hand_over=true", "eval_episodes=1"]
    )
    if child.wait() != 0:
        raise RuntimeError(child.text)


def main() -> int:
    """Print a line for each fault, and how many there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--command", choices=list(COMMANDS))
    chosen = parser.parse_args().command
    good = total = 0
    with tempfile.TemporaryDirectory(prefix="acer-fuzz-") as folder:
        if chosen not in ("train", "runs"):
            tiny_run(Path(folder))
        os.chdir(folder)
        for name in [chosen] if chosen else COMMANDS:
            for case, fault in faults(name):
                good, total = good + (not fault), total + 1
                if fault:
                    print(f"FAILED acer-{case}: {fault}", flush=True)
    print(f"{good:,} of {total:,} senseless values were refused in one line")
    return 0 if good == total else 1


if __name__ == "__main__":
    sys.exit(main())
