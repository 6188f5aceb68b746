"""Launchers of sweeps (configs/launcher): which extra each needs, and how cores and GPUs are divided."""

from __future__ import annotations

import importlib.util
import os
import shutil

from omegaconf import DictConfig, OmegaConf

from acer_robot.errors import InputError

EXTRAS = {"joblib": "sweep", "ray": "sweep", "slurm": "slurm", "optuna": "sweep"}
"""launcher=NAME or search=NAME -> the extra that holds its package."""
PLUGINS = {
    "joblib": "hydra_joblib_launcher",
    "ray": "hydra_ray_launcher",
    "slurm": "hydra_submitit_launcher",
    "optuna": "hydra_optuna_sweeper",
}


def check_sweep_options(arguments: list[str], is_sweep: bool) -> None:
    """Raise InputError for an option of sweeps without -m, or whose package or cluster is not there."""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in ("launcher", "search", "sweep_dir") or value in ("", "null"):
            continue
        if not is_sweep:
            raise InputError(f"{argument} is for a sweep; add -m, or leave it out")
        if value in PLUGINS and name != "sweep_dir" and not _is_installed(PLUGINS[value]):
            raise InputError(
                f"{argument} needs a package that is not installed; install it with: pip install "
                f"'acer-robot[{EXTRAS[value]}]'"
            )
        if argument == "launcher=slurm" and shutil.which("srun") is None:
            raise InputError(
                "launcher=slurm needs SLURM, and there is no srun on PATH; type it on a node of the cluster, or "
                "use launcher=joblib"
            )


def _is_installed(plugin: str) -> bool:
    try:
        return importlib.util.find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:
        return False


def sweep_folder(arguments: list[str]) -> list[str]:
    """Return the argument that lets Hydra write into the folder of `sweep_dir=FOLDER`, if it is given."""
    given = [argument for argument in arguments if argument.startswith("sweep_dir=")]
    return [f"hydra.sweep.dir={given[-1].partition('=')[2]}"] if given else []


def register_resolvers() -> None:
    """Register what configs/launcher asks for: ${cores_over:THREADS} and ${gpus_of:DEVICE}."""
    OmegaConf.register_new_resolver("cores_over", cores_over, replace=True)
    OmegaConf.register_new_resolver("gpus_of", gpus_of, replace=True)


def cores_over(threads: int) -> int:
    """Return how many jobs of that many threads the cores of this machine take, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


def gpus_of(device: str) -> int | None:
    """Return how many GPUs a job on that device takes; None: none."""
    return 1 if device.startswith("cuda") else None


def prepare_launcher(config: DictConfig) -> None:
    """Let a Ray that the launcher starts here listen on the loopback alone."""
    launcher = config.hydra.launcher
    if str(launcher._target_).endswith(".RayLauncher") and launcher.ray.init.get("address") is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")
