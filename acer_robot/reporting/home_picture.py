"""The picture of a robot in its home pose, drawn before training, so that a wrong pose is seen at once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from acer_robot.errors import InputError
from acer_robot.reporting.gl import probe_gl, run_python
from acer_robot.schema import TaskConfig

FILE = "home.png"
SIZE, SECONDS = 480, 120.0
"""Pixels of a side, and real seconds after which drawing is stopped."""

_CHILD = """
import json
import sys
from pathlib import Path
from acer_robot.errors import InputError
from acer_robot.reporting.home_picture import write_home
try:
    write_home(json.loads(sys.argv[1]), Path(sys.argv[2]))
except InputError as error:
    sys.exit(str(error))
"""


def draw_home(config: TaskConfig, run_dir: Path) -> str | None:
    """Draw home.png in a process of its own. Return None, or one line that says why there is no picture."""
    try:
        arguments = [json.dumps(dataclasses.asdict(config)), str(run_dir / FILE)]
        run_python(_CHILD, arguments, probe_gl(), SECONDS)
    except (InputError, RuntimeError) as error:
        return str(error)
    return None


def write_home(task: dict[str, object], path: Path) -> None:
    """Draw the home pose of a robot with these options of the task into a PNG file."""
    import imageio.v3

    from acer_robot.tasks.robot.portrait import home_picture

    imageio.v3.imwrite(path, home_picture(TaskConfig(**task), (SIZE, SIZE)))  # type: ignore[arg-type]
