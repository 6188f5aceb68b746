"""Files that task.kwargs names are recorded so that they are found from every folder."""

from acer_robot.schema import TaskConfig
from acer_robot.tasks import absolute_files


def recorded(**kwargs):
    return absolute_files(TaskConfig("gymnasium", "Ant-v5", kwargs)).kwargs


def test_relative_files_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("robot.xml", "ant.xml", "plain"):
        (tmp_path / name).touch()
    assert recorded(xml_file="./robot.xml") == {"xml_file": str(tmp_path / "robot.xml")}
    assert recorded(model="robot.xml") == {"model": str(tmp_path / "robot.xml")}
    unchanged = {
        "xml_file": "ant.xml",
        "mode": "plain",
        "other": "./missing.xml",
        "speed": 3.0,
        "path": "/no/a.xml",
    }
    assert recorded(**unchanged) == unchanged
