"""Where a Weights & Biases run goes: options, variables, settings and key decide, and whether the server answers."""

from __future__ import annotations

import http.client
import netrc
import os
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from urllib.parse import urlsplit

from acer_robot.errors import InputError
from acer_robot.schema import WandbConfig, check_choice, check_range

REACH_SECONDS = 5.0
"""Seconds that a server may take to answer at all."""

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
    return " ".join(without_password(reason).split())


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
    return without_password(str(_settings().base_url))


def without_password(text: str) -> str:
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


def one_line(error: Exception) -> str:
    """Return the first 200 characters of an error, without line breaks and passwords."""
    return " ".join(without_password(str(error)).split())[:200]


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
