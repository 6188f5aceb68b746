"""How far a run is: status.json in the run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from acer_robot.run_folder.owner import is_owned
from acer_robot.run_folder.whole_file import write_whole

FORMAT = 1
NAME = "status.json"

State = Literal["running", "finished", "interrupted", "failed", "unknown"]


def write_status(run_dir: Path, state: State) -> None:
    """Write the state of a run."""
    write_whole(run_dir / NAME, (json.dumps({"format": FORMAT, "state": state}) + "\n").encode())


def read_status(run_dir: Path) -> State:
    """Return the state of a run: "interrupted" where its process was killed, "unknown" without a readable file."""
    try:
        state = json.loads((run_dir / NAME).read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, LookupError, TypeError):
        return "unknown"
    if state not in ("running", "finished", "interrupted", "failed"):
        return "unknown"
    return "interrupted" if state == "running" and not is_owned(run_dir) else state
