"""A Weights & Biases run that can neither stop nor hang training, and that carries no secret and no code."""

from __future__ import annotations

import netrc
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from urllib.parse import urlsplit

from acer_robot.errors import InputError
from acer_robot.schema import WandbConfig, check_choice

REACH_SECONDS, INIT_SECONDS, FINISH_SECONDS = 5.0, 30.0, 60.0
"""How long a server may take to answer at all, to register a run, and to take the last data."""

Mode = Literal["online", "offline", "disabled"]


def wandb_mode(config: WandbConfig) -> Mode:
    """Return what `config.mode` means here: "auto" is online where an API key is configured, else offline.

    Raises:
        InputError: for an unknown mode, or for "online" without a key (wandb would stop and ask for one).
    """
    check_choice("wandb.mode", config.mode, ("auto", "online", "offline", "disabled"))
    if config.mode == "disabled":
        return "disabled"
    if config.mode == "online" and not has_api_key():
        raise InputError(
            f"wandb.mode=online, but no API key is configured for {base_url()}; "
            "run `wandb login`, set WANDB_API_KEY, or use wandb.mode=offline"
        )
    return "online" if config.mode != "offline" and has_api_key() else "offline"


def base_url() -> str:
    """Return the server wandb is configured for: WANDB_BASE_URL, its settings files, else the public one."""
    return str(_wandb().setup().settings.base_url)


def _wandb() -> ModuleType:
    """Import wandb, only where it is used: it takes half a second."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its telemetry, which goes out even offline
    os.environ.setdefault("WANDB_SILENT", "true")  # its chatter, which would tear the progress bar
    import wandb

    return wandb


def has_api_key() -> bool:
    """Whether WANDB_API_KEY is set or a netrc file names the server; the key itself is not looked at."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return path.is_file() and urlsplit(base_url()).hostname in netrc.netrc(path).hosts
    except (netrc.NetrcParseError, OSError):
        return False  # wandb could not read a key from it either


def start_wandb(run_dir: Path, wandb_config: WandbConfig, config: dict[str, Any]) -> WandbRun | None:
    """Start a run under run_dir/wandb and say in one line where it goes; None if wandb is disabled.

    A server that does not answer in time, or refuses the key, turns an online run into an offline one.

    Raises:
        InputError: as `wandb_mode`.
    """
    mode = wandb_mode(wandb_config)
    if mode == "disabled":
        return None
    reason = "no API key is configured" if wandb_config.mode == "auto" else "as asked for"
    if mode == "online":
        unreachable = _unreachable(base_url())
        if unreachable is None:
            try:
                run = WandbRun(run_dir, wandb_config.project, config, "online")
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in wandb, training must start
                unreachable = f"{base_url()} did not accept the run: {' '.join(str(error).split())[:200]}"
            else:
                print(f"wandb: {run.url}", flush=True)
                return run
        reason = unreachable
    run = WandbRun(run_dir, wandb_config.project, config, "offline")
    print(
        f"wandb: offline ({reason}); `wandb sync {shlex.quote(str(run.folder))}` uploads the run later",
        flush=True,
    )
    return run


def _unreachable(url: str) -> str | None:
    """Return why nothing answers at `url` within REACH_SECONDS; None if something does, even an error."""
    try:
        urllib.request.urlopen(url, timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:  # URLError is an OSError; ValueError: not a URL
        return f"{url} cannot be reached: {error}"
    return None


class WandbRun:
    """One wandb run whose x-axis is environment steps."""

    def __init__(
        self, run_dir: Path, project: str, config: dict[str, Any], mode: Literal["online", "offline"]
    ) -> None:
        wandb = _wandb()
        self._run_dir, self._lost = run_dir, False
        settings = wandb.Settings(
            # Only our own numbers and files leave: no source, git state, command line, host name or output.
            disable_code=True, disable_git=True, save_code=False, x_save_requirements=False, console="off",
            x_disable_meta=True, x_disable_machine_info=True, host="-", program="acer-train",
            symlink=False,  # a symbolic link would not survive moving the run folder
            init_timeout=INIT_SECONDS, login_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        )  # fmt: skip
        self._run = wandb.init(
            project=project, dir=run_dir, name=run_dir.name, config=config, mode=mode, settings=settings,
            reinit="create_new",
        )  # fmt: skip
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    @property
    def url(self) -> str:
        """The run's page, for an online run."""
        return str(self._run.url)

    @property
    def folder(self) -> Path:
        """The folder that `wandb sync` takes."""
        return Path(self._run.dir).parent

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Queue `row` at environment step `step`; never waits for the server."""
        self._guard(lambda: self._run.log({"step": step, **row}))

    def close(self, files: Sequence[Path]) -> None:
        """Add `files` (below the run folder) and finish within FINISH_SECONDS; the unsent stays on disk."""
        for file in files:
            self._guard(partial(self._run.save, file, base_path=self._run_dir, policy="now"))
        self._guard(self._run.finish)

    def _guard(self, action: Callable[[], object]) -> None:
        """Call `action`; if wandb fails, say so once and go on without it."""
        if self._lost:
            return
        try:
            action()
        # A dead service shows as errors of wandb, asyncio and sockets, and of classes wandb keeps private.
        except Exception as error:  # noqa: BLE001
            self._lost = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            print(
                f"wandb: stopped ({reason}); `wandb sync {shlex.quote(str(self.folder))}` "
                f"uploads what was recorded",
                flush=True,
            )
