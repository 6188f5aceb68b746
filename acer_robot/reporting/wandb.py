"""A Weights & Biases run that can neither stop nor hang training, and that carries no secret and no code."""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from acer_robot.reporting.progress import say
from acer_robot.reporting.wandb_artifact import is_exported, log_policy
from acer_robot.reporting.wandb_public import public_copy, public_options
from acer_robot.reporting.wandb_settings import (
    base_url,
    mode_and_reason,
    one_line,
    wandb_module,
    why_unreachable,
    without_password,
)
from acer_robot.schema import WandbConfig

SIGNAL_SECONDS, SIGNALLED = 5.0, 128
"""How long the end of a run waits for wandb after a signal; an exit code above the second number says which signal."""
INIT_SECONDS, FINISH_SECONDS = 30.0, 60.0
"""Seconds that a server may take to register a run, and to receive the last data."""

GRACE_SECONDS = 10.0
"""How much longer than FINISH_SECONDS the end of a run waits for wandb, which then hangs."""

LOAD_SECONDS = 15.0
"""Seconds between two samples of the machine's loads."""

WAITING = 10_000
"""Rows that may wait for wandb. Where more would wait, wandb hangs, and the run goes on without it."""


def start_wandb(
    run_dir: Path, wandb_config: WandbConfig, config: dict[str, Any], run_id: str | None = None
) -> WandbRun | None:
    """Start a run under run_dir/wandb, or go on with the one of `run_id`, and say where it goes; None if disabled.

    A server that does not answer in time, or refuses the key, turns an online run into an offline one.

    Raises:
        InputError: as `wandb_mode`.
    """
    mode, reason = mode_and_reason(wandb_config)
    if mode == "disabled":
        if reason:
            print(f"wandb: disabled ({reason})", flush=True)
        return None
    if mode == "online":
        unreachable = why_unreachable(base_url())
        if unreachable is None:
            try:
                run = WandbRun(run_dir, wandb_config, config, "online", run_id)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in wandb, training must start
                unreachable = f"{base_url()} did not accept the run: {one_line(error)}"
            else:
                print(f"wandb: {without_password(run.url)}", flush=True)
                return run
        reason = unreachable
    try:
        run = WandbRun(run_dir, wandb_config, config, "offline", run_id)
    except Exception as error:  # noqa: BLE001 - training must start here, too
        print(f"wandb: not started ({one_line(error)}); the run goes on without it", flush=True)
        return None
    print(
        f"wandb: offline ({reason}); `{run.sync_command}` uploads the run later, "
        f"`wandb leet run {shlex.quote(str(run.folder))}` shows it in the terminal",
        flush=True,
    )
    return run


def _end_service() -> None:
    """Kill wandb's process, which hangs, since wandb would wait for it at the end of ours.

    wandb has no public way to do so. Where a version has other names, nothing is done.
    """
    connection = getattr(wandb_module().setup(), "_connection", None)
    process = getattr(getattr(connection, "_proc", None), "_process", None)
    cleanup = getattr(connection, "_cleanup", None)
    if isinstance(process, subprocess.Popen) and callable(cleanup):
        cleanup()  # wandb's hook at exit, which would fail on the killed process
        process.kill()
        process.wait()


class WandbRun:
    """One wandb run whose x-axis is environment steps.

    A thread hands everything to wandb, in order. A wandb that hangs, as with a stalled disk, delays only that thread.
    """

    def __init__(
        self,
        run_dir: Path,
        options: WandbConfig,
        config: dict[str, Any],
        mode: Literal["online", "offline"],
        run_id: str | None = None,
    ) -> None:
        wandb = wandb_module()
        self._run_dir, self._mode, self._lost = run_dir, mode, False
        self._exit_code, self._temporary = 0, Path()
        settings = wandb.Settings(
            # Only our own numbers and files leave: no source, git state, command line, host name or output.
            disable_code=True, disable_git=True, save_code=False, x_save_requirements=False, console="off",
            # Without metadata, the machine is seen as loads alone: processor, memory, network, GPU.
            x_disable_meta=True, x_stats_disk_paths=(), x_stats_sampling_interval=LOAD_SECONDS,
            host="-", program="acer-train",
            symlink=False,  # a symbolic link would not survive moving the run folder
            init_timeout=INIT_SECONDS, login_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        )  # fmt: skip
        name = options.name or (None if os.environ.get("WANDB_NAME") else run_dir.absolute().name)
        self._run = wandb.init(
            project=options.project, entity=options.entity, group=options.group, tags=options.tags or None,
            name=name, notes=options.notes, job_type=options.job_type, dir=run_dir,
            config=public_options(config), mode=mode, settings=settings, reinit="create_new",
            id=run_id, resume=None if run_id is None else "allow",
        )  # fmt: skip
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._waiting: queue.Queue[Callable[[], object] | None] = queue.Queue(WAITING)
        self._sender = threading.Thread(target=self._send, name="wandb sender", daemon=True)
        self._sender.start()

    @property
    def id(self) -> str:
        """What wandb knows the run by."""
        return str(self._run.id)

    @property
    def url(self) -> str:
        """The run's page, for an online run."""
        return str(self._run.url)

    @property
    def folder(self) -> Path:
        """The run's folder under wandb/."""
        return Path(self._run.dir).parent

    @property
    def sync_command(self) -> str:
        """What uploads the run later; from the run folder, as the artifact's files are named relative to it."""
        folder = self.folder.resolve().relative_to(self._run_dir.resolve())
        return f"cd {shlex.quote(str(self._run_dir))} && wandb sync {shlex.quote(str(folder))}"

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Queue `row` at environment step `step`; never waits."""
        self._queue(lambda: self._run.log({"step": step, **row}))

    def log_video(self, step: int, name: str, file: Path, caption: str) -> None:
        """Queue the mp4 `file` at environment step `step`, under `name`; keep the file until `close` has returned."""
        self._queue(
            lambda: self._run.log(
                {"step": step, name: wandb_module().Video(str(file), caption=caption, format="mp4")}
            )
        )

    def log_histograms(self, step: int, values: Mapping[str, Sequence[float]]) -> None:
        """Queue a histogram of 64 bins for each entry of `values`."""
        self._queue(
            lambda: self._run.log(
                {"step": step, **{name: wandb_module().Histogram(list(row)) for name, row in values.items()}}
            )
        )

    def summarise(self, numbers: Mapping[str, float | int]) -> None:
        """Queue numbers of the run as a whole."""
        self._queue(lambda: self._run.summary.update(dict(numbers)))

    def close(self, files: Sequence[Path], exit_code: int = 0) -> None:
        """Add `files` (below the run folder) and finish within FINISH_SECONDS. Unsent data stays on disk.

        An exported policy becomes an artifact; other files are saved, without the paths that lead to the run folder.
        wandb shows a run as finished if `exit_code` is 0, and as crashed or failed otherwise.
        """
        exported = [file for file in files if is_exported(file)]
        for file in files:
            if file not in exported:
                self._queue(partial(self._save, file))
        if exported:
            self._queue(partial(self._log_policy, exported))
        self._exit_code = exit_code
        self._queue(None)
        self._sender.join(SIGNAL_SECONDS if exit_code > SIGNALLED else FINISH_SECONDS + GRACE_SECONDS)
        if self._sender.is_alive():
            self._lose("it does not answer")
            _end_service()

    def _save(self, file: Path) -> None:
        """Let wandb upload what of `file` others may see."""
        copy = public_copy(file, self._run_dir, Path(self._run.dir))
        self._run.save(copy, base_path=self._run.dir, policy="now")

    def _log_policy(self, files: Sequence[Path]) -> None:
        """Log an exported policy as an artifact whose manifest tells nothing of this machine's folders."""
        if self._mode == "offline":
            folder = self.folder / "policy"
            shown = folder.resolve().relative_to(self._run_dir.resolve())
        else:
            folder = shown = Path(tempfile.mkdtemp(prefix="acer-policy-"))
            self._temporary = folder
        log_policy(wandb_module(), self._run, files, folder, shown)

    def _queue(self, action: Callable[[], object] | None) -> None:
        """Leave `action` to the thread; None ends it."""
        if self._lost and action is not None:
            return
        try:
            self._waiting.put_nowait(action)
        except queue.Full:
            self._lose("it does not answer")

    def _send(self) -> None:
        """Call what is queued, one after the other, then finish; if wandb fails, say so once and only finish."""
        while (action := self._waiting.get()) is not None:
            if not self._lost:
                self._try(action)
        self._try(lambda: self._run.finish(exit_code=self._exit_code))
        if not self._lost and self._temporary.name:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _try(self, action: Callable[[], object]) -> None:
        """Call `action`, and go on without wandb if it fails."""
        try:
            action()
        # A dead service raises errors of wandb, asyncio and sockets, and of private classes of wandb.
        except Exception as error:  # noqa: BLE001
            self._lose(f"{type(error).__name__}: {one_line(error)}")

    def _lose(self, reason: str) -> None:
        """Say once that the run goes on without wandb, and queue nothing from now on."""
        if self._lost:
            return
        self._lost = True
        say(f"wandb: stopped ({reason}); `{self.sync_command}` uploads what was recorded")
