"""One job of a sweep with sweep_dir: a process of its own, in a folder that is named by the job's overrides.

A job that is killed takes no other with it: it goes on from its checkpoint, and the launcher with the others.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from acer_robot.children import ending_with_parent
from acer_robot.errors import InputError
from acer_robot.run_folder.layout import clear_unlearnt, create_folder, has_checkpoint
from acer_robot.run_folder.owner import is_owned
from acer_robot.run_folder.status import read_status

LOGS = ".logs"
"""Folder in sweep_dir with what each job printed."""
NOT_NAMED = ("launcher", "search", "sweep_dir", "run_dir", "wandb")
"""Options that say how a sweep runs and where reports go. They do not make it another job."""
LONGEST_NAME = 120
RESTARTS = 2
"""How often a job that was killed (SIGKILL, as the system does where memory is short) goes on before it has failed."""

_CHILD = "from acer_robot.commands.train import main\nmain()"


class JobFailed(Exception):  # noqa: N818 - the word that users know
    """The process of a job ended with an error; the message is its last line, or the signal that ended it."""


def job_folder(sweep_dir: str, overrides: Sequence[str]) -> Path:
    """Return the folder of the job with these overrides, whatever their order.

    >>> job_folder("runs/s", ["task=walker2d", "seed=0", "sweep_dir=runs/s"]).as_posix()
    'runs/s/seed-0_task-walker2d'
    """
    named = [one for one in overrides if one.partition("=")[0].partition(".")[0] not in NOT_NAMED]
    named.sort(key=lambda one: (len(one), one))  # a long name ends where the long options begin
    plain = "_".join(re.sub(r"[^\w.+-]+", "-", one.replace("=", "-", 1)) for one in named) or "default"
    is_exact = re.fullmatch(r"[\w.+=-]*", "".join(named)) and len(plain) <= LONGEST_NAME
    if not is_exact:  # two jobs never share a folder
        digest = hashlib.sha256("\0".join(named).encode()).hexdigest()[:8]
        plain = f"{plain[:LONGEST_NAME]}_{digest}"
    return Path(sweep_dir) / plain


def run_sweep_job(sweep_dir: str, device: str) -> Path:
    """Run the present job of a sweep, go on with it, or skip it if it is finished; return its folder.

    Raises:
        JobFailed: if its process ended with an error.
    """
    hydra = cast(DictConfig, HydraConfig.get())
    overrides = cast(list[str], OmegaConf.to_container(hydra.overrides.task, resolve=False))
    folder = job_folder(sweep_dir, overrides).absolute()
    if read_status(folder) == "finished":
        print(f"{folder.name}: finished already", file=sys.stderr, flush=True)
        return folder
    create_folder("sweep_dir", folder.parent / LOGS)
    log = folder.parent / LOGS / f"{folder.name}.txt"
    status = run_to_end(overrides, folder, log, environment(device, hydra.job.num))
    if status != 0:
        raise JobFailed(f"{reason_of(status, log)}; its output is in {log}")
    return folder


def run_to_end(overrides: Sequence[str], folder: Path, log: Path, variables: dict[str, str]) -> int:
    """Run a job's process and return its status; one that is killed goes on from its checkpoint, RESTARTS times.

    Raises:
        InputError: if another process trains in the folder.
    """
    for restart in range(RESTARTS + 1):
        with log.open("a" if restart else "w", encoding="utf-8") as out:
            status = _run(arguments_of(overrides, folder), out.fileno(), variables)
        if status != -signal.SIGKILL or restart == RESTARTS:
            break
        again = f"it starts again, {restart + 1} of at most {RESTARTS} times"
        print(f"{folder.name}: {reason_of(status, log)}; {again}", file=sys.stderr, flush=True)
    return status


def arguments_of(overrides: Sequence[str], folder: Path) -> list[str]:
    """Return the command line of a job that begins, or goes on from its checkpoint.

    What a run left in the folder that was stopped before its first checkpoint is removed.

    Raises:
        InputError: if another process trains in the folder, or it holds the options of something else.
    """
    own = [
        one
        for one in overrides
        if one.partition("=")[0] not in ("launcher", "search", "sweep_dir", "run_dir")
    ]
    if is_owned(folder):
        raise InputError(f"{folder} is in use by another process; wait for its end")
    if has_checkpoint(folder):
        return [*(one for one in own if one.partition("=")[0] != "init_from"), f"resume={quoted(folder)}"]
    if (folder / "config.yaml").exists():
        from acer_robot.training.resume import recorded_config  # imports torch, which takes seconds

        recorded_config(folder)
        clear_unlearnt(folder)
    return [*own, f"run_dir={quoted(folder)}"]


def quoted(path: Path) -> str:
    """Return a path as a quoted text of Hydra's grammar."""
    text = str(path).replace("'", "\\'")
    return f"'{text}'"


def environment(device: str, number: int) -> dict[str, str]:
    """Return the variables of a job's process: where there are several GPUs, the jobs take turns at them."""
    import torch

    variables = dict(os.environ)
    if device == "cuda" and (count := torch.cuda.device_count()) > 1:
        visible = variables.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        variables["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % count]
    return variables


def _run(arguments: list[str], out: int, variables: dict[str, str]) -> int:
    """Run `acer-train ARGUMENTS` to its end; after a signal let it save first."""
    command = [sys.executable, "-c", ending_with_parent(_CHILD), *arguments]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=variables)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise


def reason_of(status: int, log: Path) -> str:
    """Return why a job failed: the signal that ended it, or its last error line."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("acer-robot: error: ")]
    last = (errors or lines or ["no output"])[-1].removeprefix("acer-robot: error: ")
    return last if errors else f"exit status {status}: {last}"


def sweep_table(sweep_dir: Path) -> str:
    """Return a table of the runs in the folder of a sweep."""
    try:
        from acer_robot.run_folder.listing import list_runs  # imports torch, which takes seconds

        runs = list_runs(sweep_dir)
    except InputError as error:
        return str(error)
    rows = [("run", "state", "environment steps", "last", "best")]
    rows += [
        (run.run, run.state, run.steps, run.last, run.best) for run in sorted(runs, key=lambda run: run.run)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
