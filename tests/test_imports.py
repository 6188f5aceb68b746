"""The rooms of docs/structure.md: which room may import which, and which packages of others; read from the source."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

ROOMS = [
    "configs",
    "modules",
    "acer",
    "tasks",
    "policies",
    "learner",
    "experience",
    "run_folder",
    "deployment",
    "reporting",
    "distributed",
    "training",
    "commands",
]
"""From top to bottom: a room may import the rooms above it and itself."""
TASK_ROOMS = ["interface", "model", "cpu", "tensor", "robot", "make"]
"""The same inside tasks/."""
EXCEPTIONS = {("acer", "modules")}
"""acer/ imports torch alone."""

ONLY = {
    "hydra": {"commands"},
    "omegaconf": {"commands"},
    "wandb": {"reporting"},
    "jinja2": {"reporting"},
    "rliable": {"reporting"},
    "gymnasium": {"tasks"},
    "dm_control": {"tasks"},
    "mujoco": {"tasks"},
    "ray": {"distributed"},
}
"""Package -> the rooms that may import it."""
WITHOUT_TORCH = {"modules", "configs"}
ACER = {"torch", "math", "collections", "__future__"}
"""All that acer/ may import beside itself."""


def room(module):
    """Return the room of a module of acer_robot, given by its dotted name; __main__ is a command."""
    if module == "acer_robot.__main__":
        return "commands"
    part = module.split(".")[1] if "." in module else ""
    part = "commands" if part == "__main__" else part  # python -m acer_robot
    return part if part in ROOMS else "modules"


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


def is_upward(importer, imported):
    """Whether `importer` may not import `imported`, both dotted names of acer_robot."""
    own, other = room(importer), room(imported)
    if own != other:
        return (own, other) in EXCEPTIONS or ROOMS.index(other) > ROOMS.index(own)
    if own == "tasks" and importer != "acer_robot.tasks":
        inner = [name.split(".")[2] for name in (importer, imported) if name.count(".") > 1]
        if len(inner) == 2 and set(inner) <= set(TASK_ROOMS):
            return TASK_ROOMS.index(inner[1]) > TASK_ROOMS.index(inner[0])
    return False


def offences(name, source):
    """Return what the module `name` imports against the rules."""
    own, bad = room(name), set()
    for imported in imports(source, name.rpartition(".")[0]):
        top = imported.partition(".")[0]
        if top == "acer_robot":
            if imported.count(".") and is_upward(name, imported):
                bad.add(imported)
        elif (
            own not in ONLY.get(top, {own})
            or (top == "torch" and own in WITHOUT_TORCH)
            or (own == "acer" and top not in ACER)
        ):
            bad.add(imported)
    return bad


@pytest.mark.parametrize(("name", "path"), [pytest.param(name, path, id=name) for name, path in modules()])
def test_imports_point_downwards(name, path):
    assert offences(name, path.read_text()) == set()


def test_every_folder_is_a_room():
    folders = {package.split(".")[1] for package in SETTINGS["packages"] if "." in package}
    assert folders == set(ROOMS) - {"modules"}


@pytest.mark.parametrize(
    ("name", "source", "offence"),
    [
        ("acer_robot.tasks.make", "from acer_robot.policies.actor import GaussianActor", None),
        ("acer_robot.tasks.model.names", "from acer_robot.tasks.cpu.spaces import check_spaces", None),
        ("acer_robot.tasks.make", "from acer_robot import policies", None),
        ("acer_robot.policies.actor", "from acer_robot.learner.learner import Learner", None),
        ("acer_robot.learner.learner", "from acer_robot.experience.collector import Collector", None),
        ("acer_robot.learner.learner", "from gymnasium import Env", "gymnasium.Env"),
        ("acer_robot.experience.replay", "from omegaconf import OmegaConf", "omegaconf.OmegaConf"),
        ("acer_robot.experience.seeds", "def f():\n    from wandb import init", "wandb.init"),
        ("acer_robot.acer.returns", "from acer_robot.errors import InputError", None),
        ("acer_robot.acer.returns", "import numpy", "numpy"),
        ("acer_robot.spec", "import torch", "torch"),
        ("acer_robot.errors", "from acer_robot.training.run import train", None),
        ("acer_robot.training.run", "from acer_robot.commands.train import main", None),
    ],
)
def test_upward_import_is_seen(name, source, offence):
    found = offences(name, source)
    assert len(found) == 1
    assert offence is None or found == {offence}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("acer_robot.tasks.make", "from acer_robot.spec import TaskSpec\nimport mujoco"),
        ("acer_robot.tasks.cpu.vector_task", "from acer_robot.tasks.interface import StepResult"),
        ("acer_robot.learner.learner", "from acer_robot.acer import returns"),
        ("acer_robot.experience.collector", "from acer_robot.tasks import VectorTask"),
        ("acer_robot.commands.train", "import hydra\nfrom acer_robot.training.run import train"),
    ],
)
def test_downward_import_is_allowed(name, source):
    assert offences(name, source) == set()


def test_library_does_not_import_its_command_line():
    code = (
        "import sys; from acer_robot.experience.episodes import run_episodes; "
        "print(sorted({'hydra', 'omegaconf', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
