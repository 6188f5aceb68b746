"""What is installed: pyproject against the disk, and what an installed checkout finds."""

import re
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import acer_robot
from acer_robot.provenance import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
TOP = {"acer_robot": "acer_robot", "tasks": "acer_robot.tasks", "policies": "acer_robot.policies"}
"""Top-level folder with Python packages -> the name it is installed under."""


def folders_with_modules():
    """Return {folder below the root: package name} for every folder that holds a Python package."""
    found = {"configs": "acer_robot.configs"}  # its sub-folders hold values only, which are package data
    for top, package in TOP.items():
        for path in (ROOT / top).rglob("__init__.py"):
            parts = path.parent.relative_to(ROOT / top).parts
            found["/".join((top, *parts))] = ".".join((package, *parts))
    return found


def test_every_folder_with_modules_is_listed():
    listed = {folder: package for package, folder in SETUPTOOLS["package-dir"].items()}
    assert listed == folders_with_modules()
    assert sorted(SETUPTOOLS["packages"]) == sorted(SETUPTOOLS["package-dir"])


def test_no_module_lies_in_a_folder_that_is_no_package():
    for top in TOP:
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_configs_hold_no_package_below_themselves():
    assert [path.name for path in (ROOT / "configs").rglob("*.py")] == ["__init__.py"]


def test_the_package_finds_its_configs_and_type_marker():
    configs = resources.files("acer_robot.configs")
    assert (configs / "train.yaml").is_file()
    assert (configs / "task/halfcheetah.yaml").is_file()
    assert (resources.files("acer_robot") / "py.typed").is_file()


def test_templates_and_style_are_package_data():
    folder, patterns = ROOT / "acer_robot/reporting", SETUPTOOLS["package-data"]["acer_robot.reporting"]
    packed = {path for pattern in patterns for path in folder.glob(pattern)}
    assert {path for path in folder.rglob("*") if path.suffix in (".j2", ".css")} == packed
    assert len(packed) > 4


@pytest.mark.parametrize("name", sorted(PROJECT["project"]["scripts"]))
def test_every_command_is_installed_and_leads_to_a_function(name):
    points = metadata.entry_points(group="console_scripts", name=name)
    assert [point.value for point in points] == [PROJECT["project"]["scripts"][name]]
    (point,) = points
    assert callable(point.load())


def test_versions_agree():
    assert acer_robot.__version__ == PROJECT["project"]["version"] == metadata.version("acer-robot")


def test_the_pins_satisfy_the_ranges():
    from packaging.requirements import Requirement

    pins = dict(line.split("==") for line in _lines(ROOT / "constraints.txt"))
    pins = {_normal(name): version for name, version in pins.items()}
    groups = PROJECT["project"]["optional-dependencies"]
    extras = [line for group in groups.values() for line in group]
    for line in [*PROJECT["project"]["dependencies"], *extras]:
        requirement = Requirement(line)
        if requirement.name == "acer-robot":
            continue
        assert requirement.specifier.contains(pins[_normal(requirement.name)]), line


def test_mujoco_4_is_excluded():
    """dm-control 1.0.50 fails on it, and pip would pick that pair."""
    from packaging.requirements import Requirement

    (mujoco,) = (
        Requirement(line) for line in PROJECT["project"]["dependencies"] if line.startswith("mujoco")
    )
    assert not mujoco.specifier.contains("4.0.0")
    assert mujoco.specifier.contains("3.17.0")


def test_environment_txt_covers_every_dependency():
    names = {_normal(re.split(r"[\[<>=]", line)[0]) for line in PROJECT["project"]["dependencies"]}
    assert names <= {_normal(name) for name in PACKAGES}


def _lines(path):
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
