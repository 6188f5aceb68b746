"""The direction of imports, read from the source: what a module may import, at its top or in a function."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

LEAVES = {"spec", "errors", "config", "command_filter"}
LEARNING = {
    "trajectory",
    "collector",
    "replay",
    "learner",
    "estimates",
    "baselines",
    "networks",
    "flat",
    "compiler",
    "cuda_graph",
    "schedule",
    "diagnostics",
}
"""Modules that learn or feed the learner; like everything below them they know nothing of commands."""

ALLOWED = {
    "leaf": {"leaf"},
    "acer": {"leaf", "acer"},
    "tasks": {"leaf", "tasks"},
    "policies": {"leaf", "policies"},
    "learning": {"leaf", "acer", "policies", "learning"},
    "collector": {"leaf", "acer", "policies", "learning", "tasks"},
}
"""Layer -> layers of acer_robot that it may import; commands may import everything."""

NEVER_BELOW_COMMANDS = {"hydra", "omegaconf", "wandb"}
FORBIDDEN = {
    "leaf": {"torch", "gymnasium", "mujoco", "dm_control"},
    "tasks": {"torch"},
    "acer": {"gymnasium", "mujoco", "dm_control"},
    "policies": {"gymnasium", "mujoco", "dm_control"},
    "learning": {"gymnasium", "mujoco", "dm_control"},
    "collector": {"gymnasium", "mujoco", "dm_control"},
}
"""Layer -> other people's packages that it must do without."""


def layer(module):
    """Return the layer of a module of acer_robot, given by its dotted name."""
    part = module.split(".")[1] if "." in module else ""
    if part in ("acer", "tasks", "policies"):
        return part
    if part in LEAVES:
        return "leaf"
    if part == "collector":  # the one place where learner and tasks meet
        return "collector"
    return "learning" if part in LEARNING else "command"


def modules():
    """Yield (dotted name, path) of every module of the package."""
    for package, folder in SETTINGS["package-dir"].items():
        for path in sorted((ROOT / folder).glob("*.py")):
            yield (package if path.stem == "__init__" else f"{package}.{path.stem}"), path


def imports(source, package):
    """Return the dotted names that Python source imports anywhere, for source in the given package."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            # "from acer_robot import tasks" imports a module, "from acer_robot.tasks import X" a name.
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def offences(name, source):
    """Return what the module `name` imports against the rules."""
    own = layer(name)
    if own == "command":
        return set()
    bad = set()
    for imported in imports(source, name.rpartition(".")[0]):
        top = imported.partition(".")[0]
        if top == "acer_robot":
            if imported.count(".") and layer(imported) not in ALLOWED[own]:
                bad.add(imported)
        elif top in NEVER_BELOW_COMMANDS | FORBIDDEN[own]:
            bad.add(imported)
    return bad


@pytest.mark.parametrize(("name", "path"), [pytest.param(name, path, id=name) for name, path in modules()])
def test_imports_point_downwards(name, path):
    assert offences(name, path.read_text()) == set()


def test_every_named_module_exists():
    names = {name.rpartition(".")[2] for name, _ in modules() if name.count(".") == 1}
    assert names >= LEAVES | LEARNING | {"collector", "train", "command"}


@pytest.mark.parametrize(
    ("name", "source", "offence"),
    [
        ("acer_robot.tasks.make", "import torch", "torch"),
        ("acer_robot.tasks.make", "def f():\n    import torch.nn as nn", "torch.nn"),
        ("acer_robot.tasks.make", "from acer_robot.policies.actor import GaussianActor", None),
        ("acer_robot.tasks.make", "from acer_robot import policies", None),
        ("acer_robot.tasks.make", "from ..policies import actor", None),
        ("acer_robot.policies.actor", "import acer_robot.tasks.make", None),
        ("acer_robot.policies.actor", "from acer_robot.learner.learner import Learner", None),
        ("acer_robot.learner.learner", "from acer_robot.experience.collector import Collector", None),
        ("acer_robot.learner.learner", "from gymnasium import Env", "gymnasium.Env"),
        ("acer_robot.experience.replay", "from omegaconf import OmegaConf", "omegaconf.OmegaConf"),
        (
            "acer_robot.experience.collector",
            "class A:\n    def f(self):\n        from wandb import init",
            "wandb.init",
        ),
        ("acer_robot.acer.returns", "from acer_robot.learner.batch import Trajectory", None),
        ("acer_robot.spec", "import torch", "torch"),
        ("acer_robot.errors", "from acer_robot.training.run import train", None),
    ],
)
def test_an_import_against_the_direction_is_seen(name, source, offence):
    found = offences(name, source)
    assert len(found) == 1
    assert offence is None or found == {offence}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("acer_robot.tasks.make", "from acer_robot.spec import TaskSpec\nimport mujoco"),
        ("acer_robot.tasks.make", "from .spaces import check_spaces"),
        (
            "acer_robot.learner.learner",
            "from acer_robot.acer import returns\nfrom acer_robot.policies.actor import X",
        ),
        ("acer_robot.experience.collector", "from acer_robot.tasks import VectorTask"),
        ("acer_robot.training.run", "import hydra, wandb\nfrom acer_robot.learner.learner import Learner"),
    ],
)
def test_an_import_along_the_direction_is_allowed(name, source):
    assert offences(name, source) == set()
