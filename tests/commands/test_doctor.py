"""`acer-doctor`: says whether training can run, and what to type where it cannot."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from acer_robot.commands import doctor
from acer_robot.commands.doctor import Finding, examine, release
from acer_robot.reporting import wandb_settings


def run(monkeypatch, capsys, checks):
    monkeypatch.setattr(sys, "argv", ["acer-doctor"])
    monkeypatch.setattr(doctor, "CHECKS", checks)
    with pytest.raises(SystemExit) as stopped:
        doctor.main()
    return stopped.value.code, capsys.readouterr().out


def test_this_installation_can_train(tmp_path):
    command = [sys.executable, "-m", "acer_robot.commands.doctor"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for line in ("torch: ", "mujoco: ", "cpu: ", "git revision: ", "gymnasium steps HalfCheetah-v5"):
        assert line in done.stdout
    assert "dm_control steps walker-walk" in done.stdout
    assert done.stdout.endswith("training can run here\n")
    assert list(tmp_path.iterdir()) == []


def test_doctor_takes_no_options(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["acer-doctor", "fast=true"])
    with pytest.raises(SystemExit) as stopped:
        doctor.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "acer-robot: error: acer-doctor takes no options; leave fast=true out\n"


def test_an_error_counts_and_has_a_remedy(monkeypatch, capsys):
    def broken():
        raise AttributeError("MjModel has no attribute 'flex_vertedge'")

    status, out = run(monkeypatch, capsys, (lambda: Finding("ok", "fine"), broken))
    assert status == 1
    assert "error  broken: AttributeError: MjModel has no attribute 'flex_vertedge'" in out
    assert "to mend it: make setup" in out
    assert "ok     fine" in out
    assert out.endswith("training cannot run here\n")


def test_a_missing_gl_backend_costs_the_video_only(monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.delenv("DISPLAY", raising=False)
    status, out = run(monkeypatch, capsys, (doctor.check_pictures,))
    assert status == 0
    assert "note   no video: MuJoCo cannot draw here (glfw: " in out
    assert re.search(
        "to mend it: unset MUJOCO_GL, or .*: (sudo )?apt-get update && .*install -y libegl1", out
    )


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("acer_robot.provenance.PACKAGES", ("torch", "no-such-package"))
    finding = examine(doctor.check_packages)
    assert (finding.level, finding.text) == ("error", "not installed: no-such-package")


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10, 9), "error"), ((3, 11, 0), "ok"), ((3, 14, 0), "error")]
)
def test_the_python_version_is_checked(monkeypatch, version, level):
    monkeypatch.setattr(sys, "version_info", version)
    assert examine(doctor.check_python).level == level


def test_the_mode_of_wandb_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert "wandb: offline" in examine(doctor.check_wandb).text
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(wandb_settings, "why_unreachable", lambda url: f"{url} cannot be reached")
    assert examine(doctor.check_wandb).text.startswith("wandb: runs will be offline: http")
    monkeypatch.setattr(wandb_settings, "why_unreachable", lambda url: None)
    finding = examine(doctor.check_wandb)
    assert "wandb: online at http" in finding.text
    assert "0" * 40 not in finding.text
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "wandb: disabled (WANDB_MODE=disabled)" in examine(doctor.check_wandb).text


def test_help_prints_the_usage(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["acer-doctor", "--help"])
    doctor.main()
    assert "usage: acer-doctor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "level"), [("4.0.0", "error"), ("3.16.9", "error"), ("3.17.0rc1", "ok"), ("3.20", "ok")]
)
def test_versions_that_fail_are_named(monkeypatch, version, level):
    monkeypatch.setattr(doctor, "installed_version", lambda name: version if name == "mujoco" else None)
    finding = examine(doctor.check_versions)
    assert finding.level == level
    if level == "error":
        assert str(finding).splitlines() == [
            f"error  mujoco {version} lacks what dm-control or we read",
            "       to mend it: python -m pip install 'mujoco>=3.17,<4'",
        ]


def test_known_bad_versions_agree_with_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name, (is_bad, _, remedy) in doctor.KNOWN_BAD.items():
        assert remedy in project["dependencies"]
        lowest = re.search(r">=([\d.]+)", remedy)[1]
        assert not is_bad(release(lowest)), name


def test_little_disk_and_memory_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "free_memory", lambda: 2**20)
    assert examine(doctor.check_memory).text == "memory: 1 MiB free; a run may take 2 GiB"
    monkeypatch.setattr(doctor, "LITTLE_DISK", 2**60)
    finding = examine(doctor.check_disk)
    assert (finding.level, "make room in" in finding.remedy) == ("note", True)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("a PyTorch whose compiler ..", "python -m pip install --upgrade torch"),
        ("a C++ compiler", doctor.COMPILER),
    ],
)
def test_remedy_fits_why_updates_are_not_compiled(reason, remedy, monkeypatch):
    monkeypatch.setattr("acer_robot.learner.compiler.obstacle", lambda: reason)
    assert doctor.check_compiler() == Finding("note", f"updates cannot be compiled: needs {reason}", remedy)
