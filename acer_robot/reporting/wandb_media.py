"""Videos of evaluations while a run trains, rendered by a process of its own, so that training never waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from acer_robot.children import ending_with_parent

VIDEO_SECONDS, LAST_SECONDS = 10.0, 60.0
"""Simulated seconds of a video, and real seconds for which the end of a run waits for one."""

_CHILD = """
import os
import sys
os.nice(10)  # training comes first
from pathlib import Path
from acer_robot.reporting.wandb_media import render_checkpoint
sys.exit(render_checkpoint(Path(sys.argv[1]), Path(sys.argv[2])))
"""


class EvaluationVideos:
    """Renders every `every`-th evaluation's checkpoint, one at a time; use `begin`, `finished` and `close`."""

    def __init__(self, run_dir: Path, every: int) -> None:
        self._run_dir, self._every = run_dir, every
        self._evaluations = 0
        self._step = 0
        self._child: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="acer-videos-", ignore_cleanup_errors=True)

    def begin(self, step: int) -> None:
        """Start a video of checkpoints/latest.pt if this evaluation is due one, and none is being made.

        The process gets a link to the checkpoint, so that it shows this evaluation's policy whatever is saved later.
        """
        self._evaluations += 1
        checkpoint = self._run_dir / "checkpoints" / "latest.pt"
        if self._every == 0 or self._evaluations % self._every or self._child or not checkpoint.is_file():
            return
        self._step = step
        snapshot = Path(self._folder.name) / str(step) / "checkpoints" / "latest.pt"
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(checkpoint, snapshot)
        except OSError:  # another disk, or one without links
            shutil.copyfile(checkpoint, snapshot)
        command = [
            sys.executable,
            "-c",
            ending_with_parent(_CHILD),
            str(snapshot.parents[1]),
            str(self._file),
        ]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    @property
    def _file(self) -> Path:
        """Where the video that was begun last appears."""
        return Path(self._folder.name) / f"{self._step}.mp4"

    def finished(self, wait: float = 0.0) -> tuple[int, Path] | str | None:
        """Return environment step and file of a video that is ready, or why there is none; None: nothing is ready.

        After a video that cannot be made no other is tried.
        """
        if self._child is None:
            return None
        try:
            _, complaint = self._child.communicate(timeout=wait) if wait else self._poll(self._child)
        except subprocess.TimeoutExpired:
            return None
        status, self._child = self._child.returncode, None
        shutil.rmtree(Path(self._folder.name) / str(self._step), ignore_errors=True)
        if status == 0:
            return self._step, self._file
        self._every = 0
        return (complaint.strip().splitlines() or [f"the process ended with status {status}"])[-1]

    @staticmethod
    def _poll(child: subprocess.Popen[str]) -> tuple[str, str]:
        """Return what a child that has ended printed, or raise TimeoutExpired at once."""
        if child.poll() is None:
            raise subprocess.TimeoutExpired(child.args, 0.0)
        return child.communicate()

    def close(self) -> None:
        """End the process, if there is one, and remove all videos."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None
        self._folder.cleanup()


def render_checkpoint(folder: Path, out: Path) -> str | None:
    """Render the exported policy of folder/checkpoints/latest.pt into `out`; return why it cannot be done, or None.

    The policy is scripted as for an export, and neither verified nor kept.
    """
    import torch

    from acer_robot.deployment.export import describe
    from acer_robot.errors import InputError
    from acer_robot.policies.exported.file import save_exported
    from acer_robot.policies.exported.module import ExportedPolicy
    from acer_robot.reporting.video import render_in_subprocess
    from acer_robot.run_folder.checkpoints import load_run
    from acer_robot.spec import fallback_command

    torch.set_num_threads(1)
    try:
        run = load_run(folder)
    except InputError as error:
        return str(error)
    file = folder / "policy.pt"
    save_exported(
        ExportedPolicy(run.policy, run.spec, fallback_command(run.spec.bounds)), describe(run), file
    )
    return render_in_subprocess(file, out, run.config.seed, VIDEO_SECONDS)
