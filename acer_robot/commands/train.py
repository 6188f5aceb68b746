"""`acer-train`: collect, replay, evaluate; then leave an exported policy, a video and a report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from acer_robot.commands.compose import run_command
from acer_robot.commands.process import command_process
from acer_robot.errors import NonFiniteError
from acer_robot.interrupt import exit_status
from acer_robot.schema import TrainConfig
from acer_robot.training.run import train


def _command(config: TrainConfig) -> None:
    try:
        train(config)
    except KeyboardInterrupt as error:
        print(f"interrupted; {_what_is_left(Path(config.run_dir))}", file=sys.stderr)
        raise SystemExit(exit_status(error)) from None
    except NonFiniteError as error:
        print(f"acer-robot: error: training stopped: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _what_is_left(run_dir: Path) -> str:
    """Return what the user can do after an interrupt."""
    if (run_dir / "checkpoints" / "latest.pt").is_file():
        return f"export what was learnt with: acer-export run={run_dir}"
    if run_dir.is_dir():
        return (
            "nothing was learnt yet, so there is no checkpoint to export; before the same command can run again, "
            f"remove the run folder: rm -r {shlex.quote(str(run_dir))}"
        )
    return "nothing was created"


def main() -> None:
    """Run `acer-train`."""
    with command_process():
        run_command("train", TrainConfig, _command)


if __name__ == "__main__":
    main()
