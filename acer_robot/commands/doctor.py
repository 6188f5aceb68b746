"""`acer-doctor`: whether training can run here, and the command that installs what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acer_robot.commands.help import version_text
from acer_robot.errors import InputError
from acer_robot.memory import free_memory
from acer_robot.provenance import describe_environment
from acer_robot.schema import TaskConfig, WandbConfig

LITTLE_DISK, LITTLE_MEMORY = 2**30, 2 * 2**30
"""Bytes below which a default run may not fit."""
KNOWN_BAD: dict[str, tuple[Callable[[tuple[int, ...]], bool], str, str]] = {
    "mujoco": (lambda v: v >= (4,) or v < (3, 17), "lacks what dm-control or we read", "mujoco>=3.17,<4"),
    "gymnasium": (
        lambda v: v >= (2,) or v < (1, 1),
        "has another interface of vector environments",
        "gymnasium[mujoco]>=1.1,<2",
    ),
    "wandb": (
        lambda v: v < (0, 31),
        "does not upload videos of an offline run when it is synced",
        "wandb>=0.31,<1",
    ),
    "hydra-core": (lambda v: v < (1, 3, 2), "does not read our configs", "hydra-core>=1.3.2,<1.4"),
}
"""Package -> whether a version fails, why, and what to install."""
COMPILER = "apt-get install -y g++ python3-dev"
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


def check_versions() -> Finding:
    """Find versions that are known to fail together."""
    bad = [
        Finding("error", f"{name} {version} {reason}", f"python -m pip install {remedy!r}")
        for name, (is_bad, reason, remedy) in KNOWN_BAD.items()
        if (version := installed_version(name)) and is_bad(release(version))
    ]
    return bad[0] if bad else Finding("ok", "no version is known to fail")


def installed_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """Return the first three numbers of a version.

    >>> release("2.13.0+cpu")
    (2, 13, 0)
    """
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def check_torch() -> Finding:
    """Let the learner's devices compute, so that a driver that does not fit is found."""
    import torch

    count = torch.cuda.device_count()
    names = []
    for i in range(count):
        free, total = torch.cuda.mem_get_info(i)
        float(torch.ones(2, device=f"cuda:{i}").sum())
        name = torch.cuda.get_device_name(i)
        names.append(f"cuda:{i} ({name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free)")
    if not names and Path("/proc/driver/nvidia/version").exists():
        return Finding(
            "note",
            f"this machine has an NVIDIA driver, but torch {torch.__version__} finds no CUDA device",
            "python -m pip install torch (the build for CUDA), or update the driver",
        )
    return Finding(
        "ok", f"devices: cpu ({torch.get_num_threads()} threads), {', '.join(names) or 'no CUDA device'}"
    )


def check_disk() -> Finding:
    """Find room for run folders in this folder, and for temporary files."""
    found = []
    for what, folder in (("here", Path()), ("for temporary files", Path(tempfile.gettempdir()))):
        if not os.access(folder, os.W_OK):
            return Finding("error", f"{folder.resolve()} cannot be written", "cd to a folder of your own")
        free = shutil.disk_usage(folder).free
        if free < LITTLE_DISK:
            return Finding(
                "note",
                f"disk: {free / 2**20:,.0f} MiB free {what}; a run may take 1 GiB",
                f"make room in {folder.resolve()}",
            )
        found.append(f"{free / 2**30:,.0f} GiB free {what}")
    return Finding("ok", f"disk: {', '.join(found)}")


def check_memory() -> Finding:
    """Say how much main memory is free."""
    free = free_memory()
    if free is not None and free < LITTLE_MEMORY:
        return Finding(
            "note", f"memory: {free / 2**20:,.0f} MiB free; a run may take 2 GiB", "end other programs"
        )
    return Finding("ok", "memory: " + ("not known" if free is None else f"{free / 2**30:,.0f} GiB free"))


def check_compiler() -> Finding:
    """Find a compiler for the learner's update. Without one an update takes about twice as long."""
    from acer_robot.learner.compiler import obstacle

    if reason := obstacle():
        remedy = "python -m pip install --upgrade torch" if "PyTorch" in reason else COMPILER
        return Finding("note", f"updates cannot be compiled: needs {reason}", remedy)
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
        return Finding("ok", f"MuJoCo drew a test frame with MUJOCO_GL={probe_gl()}")
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
    from acer_robot.reporting.wandb_settings import base_url, mode_and_reason, why_unreachable

    mode, reason = mode_and_reason(WandbConfig())
    if mode == "online":
        if obstacle := why_unreachable(base_url()):
            return Finding(
                "note", f"wandb: runs will be offline: {obstacle}", "wandb.mode=offline, or mend the network"
            )
        return Finding("ok", f"wandb: online at {base_url()}, which answers")
    return Finding("ok", f"wandb: {mode} ({reason}); `wandb login` configures a key")


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_packages,
    check_versions,
    check_memory,
    check_disk,
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
        if sys.argv[1] not in ("-h", "--help"):
            print(
                f"acer-robot: error: acer-doctor takes no options; leave {sys.argv[1]} out", file=sys.stderr
            )
            raise SystemExit(2)
        print("usage: acer-doctor\n\nSays whether training can run here, and what to type where it cannot.")
        return
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
