"""A Weights & Biases run that can neither stop nor hang training, and that carries no secret and no code."""

from __future__ import annotations

import http.client
import netrc
import os
import queue
import re
import shlex
import shutil
import subprocess
import tempfile
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
from acer_robot.reporting.progress import say
from acer_robot.reporting.wandb_artifact import is_exported, log_policy
from acer_robot.reporting.wandb_public import public_copy, public_options
from acer_robot.schema import WandbConfig, check_choice, check_range

SIGNAL_SECONDS, SIGNALLED = 5.0, 128
"""How long the end of a run waits for wandb after a signal; an exit code above the second number says which signal."""
REACH_SECONDS, INIT_SECONDS, FINISH_SECONDS = 5.0, 30.0, 60.0
"""Seconds that a server may take to answer at all, to register a run, and to receive the last data."""

GRACE_SECONDS = 10.0
"""How much longer than FINISH_SECONDS the end of a run waits for wandb, which then hangs."""

LOAD_SECONDS = 15.0
"""Seconds between two samples of the machine's loads."""

WAITING = 10_000
"""Rows that may wait for wandb. Where more would wait, wandb hangs, and the run goes on without it."""

LONGEST_NAME, LONGEST_TAG = 128, 64
"""Characters that wandb takes."""

Mode = Literal["online", "offline", "disabled"]

_ENVIRONMENT_MODES: dict[str, Mode] = {
    "online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled",
}  # fmt: skip
"""What the values of WANDB_MODE mean; "run" and "dryrun" are wandb's former names."""


def wandb_mode(config: WandbConfig) -> Mode:
    """Return the mode of a run with these options.

    A mode other than auto wins over the environment. wandb.mode=auto obeys, in this order: WANDB_DISABLED, WANDB_MODE,
    what `wandb offline` wrote into wandb's settings, and whether an API key is configured. What of these cannot be used
    does not stop a run: it goes on offline or without wandb.

    Raises:
        InputError: for an option that wandb cannot use; and for another mode than auto also for a server or key that it
            cannot use, and for "online" without a key, because wandb would wait for one.
    """
    return mode_and_reason(config)[0]


def mode_and_reason(config: WandbConfig) -> tuple[Mode, str]:
    """Return the mode and, for a run that stays offline, why."""
    check_choice("wandb.mode", config.mode, ("auto", "online", "offline", "disabled"))
    check_names(config)
    check_range("wandb.video_every", config.video_every, 0, 1e9)
    if config.mode == "disabled":
        return "disabled", ""
    if config.mode == "auto":
        _check_project(config.project)
        return _mode_of_the_environment()
    _settings()
    _check_project(config.project)
    if config.mode == "offline":
        return "offline", "as requested"
    if not has_api_key():
        raise InputError(
            f"wandb.mode=online, but no API key is configured for {base_url()}; run `wandb login`, set WANDB_API_KEY, "
            "or use wandb.mode=offline"
        )
    _check_key()
    return "online", ""


def _mode_of_the_environment() -> tuple[Mode, str]:
    """Return the mode that variables, settings and key give, and why; nothing in them stops a run."""
    try:
        environment, cause = _environment_mode()
        if environment == "disabled":
            return "disabled", cause
        settings = _settings()
    except InputError as error:
        return "disabled", str(error)
    if environment == "offline":
        return "offline", cause
    if environment is None and settings.mode in ("offline", "dryrun", "disabled"):
        kept: Mode = "disabled" if settings.mode == "disabled" else "offline"
        return kept, f"`wandb {kept}` was run"
    if not has_api_key():
        return "offline", f"{cause}, but no API key is configured" if cause else "no API key is configured"
    try:
        _check_key()
    except InputError as error:
        return "offline", str(error)
    return "online", ""


def _check_project(project: str) -> None:
    """Raise InputError for a project that wandb refuses."""
    wandb = wandb_module()
    try:
        wandb.Settings(project=project)
    except (wandb.errors.UsageError, ValueError) as error:
        if "project" in str(error).lower():  # a variable of the environment that is wrong shows here as well
            raise InputError(f"wandb.project={project!r} cannot be used: {_reason(error)}") from None


def check_names(config: WandbConfig) -> None:
    """Raise InputError for an entity, group, tag, name, job type or note that wandb would refuse or alter."""
    names = {name: getattr(config, name) for name in ("entity", "group", "name", "job_type")}
    names = {name: text for name, text in names.items() if text is not None}
    for name, text in names.items():
        if not (text.strip() and text.isprintable() and len(text) <= LONGEST_NAME):
            raise InputError(
                f"wandb.{name}={text!r} cannot be used; expected 1 to {LONGEST_NAME} printable characters"
            )
    if "entity" in names and not re.fullmatch(r"[\w.-]+", names["entity"]):
        raise InputError(
            f"wandb.entity={config.entity!r} is not a user or team; expected letters, digits, '_', '.' and '-', "
            "and the project in wandb.project"
        )
    for tag in config.tags:
        if not (tag.strip() and tag.isprintable() and len(tag) <= LONGEST_TAG):
            raise InputError(
                f"wandb.tags has {tag!r}, which cannot be a tag; expected 1 to {LONGEST_TAG} printable characters"
            )
    if len(set(config.tags)) < len(config.tags):
        raise InputError(f"wandb.tags={config.tags} names a tag twice; give each once")
    if config.notes is not None and "\0" in config.notes:
        raise InputError("wandb.notes has a NUL in it; leave it out")


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


def _settings() -> Any:  # noqa: ANN401 (wandb's own type)
    """Return wandb's settings, from its environment variables and settings files.

    Raises:
        InputError: in one line, if wandb refuses one of them.
    """
    wandb = wandb_module()
    try:
        settings = wandb.setup().settings
        wandb.Settings()
    except (wandb.errors.UsageError, ValueError) as error:
        raise InputError(
            f"wandb cannot use its settings: {_reason(error)}; check the variables WANDB_.. and wandb's settings "
            "files, or use wandb.mode=disabled"
        ) from None
    return settings


def _reason(error: Exception) -> str:
    """Return what wandb says of a setting, in one line without passwords."""
    details = error.errors(include_url=False)[0] if hasattr(error, "errors") else None
    reason = f"{details['loc'][0]}: {details['msg']}" if details else str(error)
    return " ".join(_without_password(reason).split())


def _check_key() -> None:
    """Raise InputError for a WANDB_API_KEY that cannot stand in an HTTP header. The message does not show the key."""
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


def wandb_module() -> ModuleType:
    """Import wandb. Callers do so late, because the import takes half a second."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its telemetry is sent even offline
    os.environ.setdefault("WANDB_SILENT", "true")  # its own lines would break the progress bar
    import wandb

    return wandb


def has_api_key() -> bool:
    """Whether WANDB_API_KEY is set or a netrc file names the server. We do not read the key."""
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
        unreachable = why_unreachable(base_url())
        if unreachable is None:
            try:
                run = WandbRun(run_dir, wandb_config, config, "online", run_id)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in wandb, training must start
                unreachable = f"{base_url()} did not accept the run: {one_line(error)}"
            else:
                print(f"wandb: {_without_password(run.url)}", flush=True)
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


def one_line(error: Exception) -> str:
    """Return the first 200 characters of an error, without line breaks and passwords."""
    return " ".join(_without_password(str(error)).split())[:200]


def why_unreachable(url: str) -> str | None:
    """Return why nothing answers at `url` within REACH_SECONDS; None if something does, even an error.

    The time limit of urlopen holds for each read, so a slow server could block it for long. A thread therefore asks
    the server, and we stop waiting for the thread after REACH_SECONDS + 1 s.
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
        return f"{url} cannot be reached: {one_line(error) or type(error).__name__}"
    return None


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
