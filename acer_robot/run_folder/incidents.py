"""What a run leaves of a moment that went wrong: incidents/0/, incidents/1/, .. in the run folder."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from acer_robot.errors import DAMAGE, InputError, first_line
from acer_robot.run_folder.checkpoints import content_sha256, load_plain
from acer_robot.run_folder.whole_file import write_whole

FOLDER, STATES, SUMMARY = "incidents", "incident.pt", "incident.json"
FORMAT = 1


def write_incident(run_dir: Path, summary: dict[str, Any], content: dict[str, Any]) -> Path:
    """Write an incident's states and its summary; return the folder.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    parent = run_dir / FOLDER
    taken = [int(path.name) for path in parent.glob("*") if path.name.isdigit()]
    folder = parent / str(max(taken, default=-1) + 1)
    folder.mkdir(parents=True)
    content = {"format": FORMAT, **content}
    content["sha256"] = content_sha256(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(folder / STATES, buffer.getbuffer())
    write_whole(folder / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
    return folder


def read_incident(folder: Path) -> dict[str, Any]:
    """Read the states of an incident, without running code.

    Raises:
        InputError: if there is no incident, or its file is damaged or of another format.
    """
    path = folder / STATES
    if not path.is_file():
        raise InputError(f"{folder} holds no incident: there is no {path}; give RUN/{FOLDER}/0")
    try:
        content = load_plain(path)
    except (*DAMAGE, pickle.UnpicklingError) as error:
        reason = "" if "weights_only" in str(error) else f" ({first_line(error)})"
        raise InputError(f"{path} is damaged{reason}; it cannot be repeated") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not an incident of format {FORMAT}, which this version reads")
    if content_sha256(content) != content.get("sha256"):
        raise InputError(f"{path} is damaged: its content is not what its sha256 says")
    return content
