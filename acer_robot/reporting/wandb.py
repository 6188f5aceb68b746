"""A Weights & Biases run that can neither stop nor hang training, and that carries no secret and no code."""

from __future__ import annotations

import http.client
import netrc
import os
import re
import shlex
import threading
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

_ENVIRONMENT_MODES: dict[str, Mode] = {
    "online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled",
}  # fmt: skip
"""What the values of WANDB_MODE mean; "run" and "dryrun" are wandb's former names."""


def wandb_mode(config: WandbConfig) -> Mode:
    """Return where a run of these options goes.

    wandb.mode=auto obeys, in this order: WANDB_DISABLED, WANDB_MODE, what `wandb offline` wrote into wandb's settings,
    and whether an API key is configured.

    Raises:
        InputError: for a mode, server, project or key that wandb cannot use; for "online" without a key, since wandb
            would stop and ask for one; and for wandb.mode=online where the environment forbids the upload.
    """
    return mode_and_reason(config)[0]


def mode_and_reason(config: WandbConfig) -> tuple[Mode, str]:
    """Return the mode and, for a run that stays offline, why."""
    check_choice("wandb.mode", config.mode, ("auto", "online", "offline", "disabled"))
    if config.mode == "disabled":
        return "disabled", ""
    environment, cause = _environment_mode()
    if config.mode == "auto" and environment == "disabled":
        return "disabled", cause
    if config.mode == "online" and environment in ("offline", "disabled"):
        raise InputError(
            f"wandb.mode=online, but {cause} forbids the upload; unset the variable, or use wandb.mode=offline"
        )
    settings = _settings(config.project)
    if config.mode == "offline":
        return "offline", "as asked for"
    if environment == "offline":
        return "offline", cause
    if config.mode == "auto" and environment is None and settings.mode in ("offline", "dryrun", "disabled"):
        kept: Mode = "disabled" if settings.mode == "disabled" else "offline"
        return kept, f"`wandb {kept}` was run"
    if has_api_key():
        _check_key()
        return "online", ""
    if config.mode == "online" or environment == "online":
        raise InputError(
            f"{'wandb.mode=online' if config.mode == 'online' else cause}, but no API key is configured for "
            f"{base_url()}; run `wandb login`, set WANDB_API_KEY, or use wandb.mode=offline"
        )
    return "offline", "no API key is configured"


def _environment_mode() -> tuple[Mode | None, str]:
    """Return what WANDB_DISABLED or WANDB_MODE asks for, and the variable with its value; None if neither is set.

    Raises:
        InputError: for an unknown WANDB_MODE.
    """
    disabled = os.environ.get("WANDB_DISABLED", "")
    if disabled.strip().lower() not in ("", "0", "false", "f", "no", "n", "off"):
        return "disabled", f"WANDB_DISABLED={disabled}"
    asked = os.environ.get("WANDB_MODE")
    if not asked:
        return None, ""
    if asked not in _ENVIRONMENT_MODES:
        raise InputError(
            f"WANDB_MODE={asked!r} is not known; use {', '.join(_ENVIRONMENT_MODES)}, or unset the variable"
        )
    return _ENVIRONMENT_MODES[asked], f"WANDB_MODE={asked}"


def _settings(project: str | None = None) -> Any:  # noqa: ANN401 (wandb's own type)
    """Return wandb's settings, from its environment variables and settings files, for a run of `project`.

    Raises:
        InputError: in one line, if wandb refuses one of them or the project.
    """
    wandb = _wandb()
    try:
        settings = wandb.setup().settings
        wandb.Settings(project=project)
    except (wandb.errors.UsageError, ValueError) as error:
        details = error.errors(include_url=False)[0] if hasattr(error, "errors") else None
        reason = f"{details['loc'][0]}: {details['msg']}" if details else str(error)
        reason = " ".join(_without_password(reason).split())
        raise InputError(
            f"wandb cannot use its settings: {reason}; check wandb.project, the variables WANDB_.. "
            "and wandb's settings files, or use wandb.mode=disabled"
        ) from None
    return settings


def _check_key() -> None:
    """Raise InputError for a WANDB_API_KEY that no HTTP header can carry; the key itself is not printed."""
    key = os.environ.get("WANDB_API_KEY", "")
    if any(not "!" <= character <= "~" for character in key):
        raise InputError(
            "WANDB_API_KEY has a blank, a line break or another character that no key has; "
            "set it again, or use wandb.mode=offline"
        )


def base_url() -> str:
    """Return the server wandb is configured for, without user and password.

    It is WANDB_BASE_URL, or what wandb's settings files have, or the public server.
    """
    return _without_password(str(_settings().base_url))


def _without_password(text: str) -> str:
    """Return `text` without the user and the password of a URL in it."""
    return re.sub(r"//[^/\s'\"]*@", "//", text)


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
        unreachable = _unreachable(base_url())
        if unreachable is None:
            try:
                run = WandbRun(run_dir, wandb_config.project, config, "online", run_id)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in wandb, training must start
                unreachable = f"{base_url()} did not accept the run: {_one_line(error)}"
            else:
                print(f"wandb: {_without_password(run.url)}", flush=True)
                return run
        reason = unreachable
    try:
        run = WandbRun(run_dir, wandb_config.project, config, "offline", run_id)
    except Exception as error:  # noqa: BLE001 - the same holds here
        print(f"wandb: not started ({_one_line(error)}); the run goes on without it", flush=True)
        return None
    print(
        f"wandb: offline ({reason}); `wandb sync {shlex.quote(str(run.folder))}` uploads the run later",
        flush=True,
    )
    return run


def _one_line(error: Exception) -> str:
    """Return the first 200 characters of an error, without line breaks and passwords."""
    return " ".join(_without_password(str(error)).split())[:200]


def _unreachable(url: str) -> str | None:
    """Return why nothing answers at `url` within REACH_SECONDS; None if something does, even an error.

    The time limit of urlopen holds for each read, so a server that trickles would hold it for long: it is asked in a
    thread that is left behind.
    """
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(url)), daemon=True)
    asking.start()
    asking.join(REACH_SECONDS + 1.0)
    return answers[0] if answers else f"{url} cannot be reached: it answers too slowly"


def _ask(url: str) -> str | None:
    """Return why nothing answers at `url`; None if something does, even an error."""
    try:
        urllib.request.urlopen(url, timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return None
    # URLError is an OSError; ValueError: not a URL; HTTPException: the answer is not HTTP.
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url} cannot be reached: {_one_line(error) or type(error).__name__}"
    return None


class WandbRun:
    """One wandb run whose x-axis is environment steps."""

    def __init__(
        self,
        run_dir: Path,
        project: str,
        config: dict[str, Any],
        mode: Literal["online", "offline"],
        run_id: str | None = None,
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
            reinit="create_new", id=run_id, resume=None if run_id is None else "allow",
        )  # fmt: skip
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

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
        """The folder that `wandb sync` takes."""
        return Path(self._run.dir).parent

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Queue `row` at environment step `step`; never waits for the server."""
        self._guard(lambda: self._run.log({"step": step, **row}))

    def close(self, files: Sequence[Path], exit_code: int = 0) -> None:
        """Add `files` (below the run folder) and finish within FINISH_SECONDS; the unsent stays on disk.

        wandb shows a run as finished if `exit_code` is 0, and as crashed or failed otherwise.
        """
        for file in files:
            self._guard(partial(self._run.save, file, base_path=self._run_dir, policy="now"))
        self._guard(partial(self._run.finish, exit_code=exit_code))

    def _guard(self, action: Callable[[], object]) -> None:
        """Call `action`; if wandb fails, say so once and go on without it."""
        if self._lost:
            return
        try:
            action()
        # A dead service shows as errors of wandb, asyncio and sockets, and of classes wandb keeps private.
        except Exception as error:  # noqa: BLE001
            self._lost = True
            reason = f"{type(error).__name__}: {_one_line(error)}"
            print(
                f"wandb: stopped ({reason}); `wandb sync {shlex.quote(str(self.folder))}` "
                f"uploads what was recorded",
                flush=True,
            )
