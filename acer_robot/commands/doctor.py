"""`acer-doctor`: whether training can run here, and the command that installs what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from acer_robot.commands.help import version_text
from acer_robot.errors import InputError
from acer_robot.provenance import describe_environment
from acer_robot.schema import TaskConfig, WandbConfig

REINSTALL = "make setup (in a checkout), or: python -m pip install --force-reinstall acer-robot"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    level: str
    """ "ok"; "note": something optional is missing; "error": training cannot run."""
    text: str
    remedy: str = ""
    """What to type, where there is something to mend."""

    def __str__(self) -> str:
        """Return one line, or two where there is a remedy."""
        remedy = f"\n       to mend it: {self.remedy}" if self.remedy else ""
        return f"{self.level:<6} {self.text}{remedy}"


def check_python() -> Finding:
    """Check the version of the interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("ok", f"python {version}")
    return Finding(
        "error", f"python {version}; needs 3.11, 3.12 or 3.13", "make setup PYTHON=/path/to/python3.11"
    )


def check_packages() -> Finding:
    """Check that everything is installed."""
    missing = [name for name, value in describe_environment().items() if value == "not installed"]
    if missing:
        return Finding("error", f"not installed: {', '.join(missing)}", REINSTALL)
    return Finding("ok", "all packages are installed")


def check_torch() -> Finding:
    """Say which devices the learner can use."""
    import torch

    count = torch.cuda.device_count()
    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count)]
    return Finding(
        "ok", f"devices: cpu ({torch.get_num_threads()} threads), {', '.join(names) or 'no CUDA device'}"
    )


def check_compiler() -> Finding:
    """Find a compiler for the learner's update. Without one an update takes about twice as long."""
    from acer_robot.learner.compiler import obstacle

    if reason := obstacle():
        return Finding(
            "note", f"updates cannot be compiled: needs {reason}", "apt-get install -y g++ python3-dev"
        )
    return Finding("ok", "the learner's update can be compiled")


def check_gymnasium() -> Finding:
    """Step a Gymnasium task."""
    return _step(TaskConfig(suite="gymnasium", id="HalfCheetah-v5"))


def check_dm_control() -> Finding:
    """Step a dm_control task. This fails if the versions of mujoco and dm-control do not match."""
    return _step(TaskConfig(suite="dm_control", id="walker-walk"))


def _step(config: TaskConfig) -> Finding:
    import torch

    from acer_robot.tasks import make_task

    task = make_task(config, num_envs=1, seed=0)
    task.reset()
    task.step(torch.zeros(1, task.spec.action_size))
    task.close()
    return Finding("ok", f"{config.suite} steps {config.id}")


def check_pictures() -> Finding:
    """Find a GL backend. Without one training leaves no video."""
    from acer_robot.reporting.gl import probe_gl

    try:
        return Finding("ok", f"MuJoCo draws with MUJOCO_GL={probe_gl()}")
    except InputError as error:
        reason, _, remedy = str(error).rpartition("; ")
        return Finding("note", f"no video: {reason}", remedy)


def check_encoder() -> Finding:
    """Find the program that encodes videos. Without it training leaves no video."""
    import imageio_ffmpeg

    try:
        return Finding("ok", f"videos are encoded by {imageio_ffmpeg.get_ffmpeg_exe()}")
    except RuntimeError as error:
        return Finding("note", f"no video: {error}", "apt-get install -y ffmpeg")


def check_wandb() -> Finding:
    """Say what wandb.mode=auto means here."""
    from acer_robot.reporting.wandb import base_url, mode_and_reason

    mode, reason = mode_and_reason(WandbConfig())
    if mode == "online":
        return Finding("ok", f"wandb: online at {base_url()}")
    return Finding("ok", f"wandb: {mode} ({reason}); `wandb login` configures a key")


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_compiler,
    check_gymnasium,
    check_dm_control,
    check_pictures,
    check_encoder,
    check_wandb,
)


def examine(check: Callable[[], Finding]) -> Finding:
    """Return what a check finds. An exception is a finding, too."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken installation breaks in any way
        what = check.__name__.removeprefix("check_").replace("_", " ")
        return Finding("error", f"{what}: {' '.join(f'{type(error).__name__}: {error}'.split())}", REINSTALL)


def main() -> None:
    """Run `acer-doctor`: print versions and findings; exit status 1 if training cannot run.

    Raises:
        SystemExit: with status 1 if a check found an error.
    """
    if sys.argv[1:] == ["--version"]:
        print(version_text("acer-doctor"))
        return
    if len(sys.argv) > 1:
        print("usage: acer-doctor\n\nSays whether training can run here, and what to type where it cannot.")
        raise SystemExit(0 if sys.argv[1] in ("-h", "--help") else 2)
    for name, value in describe_environment().items():
        print(f"       {name}: {value}")
    failed = False
    for check in CHECKS:
        finding = examine(check)
        print(finding, flush=True)
        failed |= finding.level == "error"
    print("training cannot run here" if failed else "training can run here")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
