"""Look into a wheel and an sdist: the wheel holds acer_robot/ alone, and both hold every module and config."""

from __future__ import annotations

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path


def expected() -> set[str]:
    """Return the path inside the wheel of every file that belongs into it."""
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    wanted = {"acer_robot/py.typed", "acer_robot/reporting/report.css"}
    for package, folder in settings["package-dir"].items():
        wanted |= {f"{package.replace('.', '/')}/{path.name}" for path in Path(folder).glob("*.py")}
    templates = Path("acer_robot/reporting/templates").glob("*.j2")
    wanted |= {path.as_posix() for path in templates}
    wanted |= {f"acer_robot/{path.as_posix()}" for path in Path("tasks").rglob("*.xml")}
    configs = Path("configs")
    return wanted | {f"acer_robot/configs/{path.relative_to(configs)}" for path in configs.rglob("*.yaml")}


def main() -> None:
    """Exit with a message if a file is missing or does not belong there."""
    wheel, sdist = Path(sys.argv[1]), Path(sys.argv[2])
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if packed != expected():
        missing, extra = sorted(expected() - packed), sorted(packed - expected())
        sys.exit(f"{wheel.name}: missing {missing}, unexpected {extra}")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "tasks/__init__.py", "configs/train.yaml"}
    if absent := wanted - names:
        sys.exit(f"{sdist.name}: missing {sorted(absent)}")


if __name__ == "__main__":
    main()
