"""See to it that MuJoCo can draw without a display: where it cannot, install the Debian packages or name them."""

from __future__ import annotations

import os
import shutil
import subprocess

from acer_robot.errors import InputError
from acer_robot.reporting.gl import GL_PACKAGES, install_command, probe_gl


def install(packages: str) -> bool:
    """Install Debian packages; return whether that worked."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages.split()]
    try:
        subprocess.run(["apt-get", "update", "-qq"], env=environment, stdout=subprocess.DEVNULL, check=True)
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    except subprocess.CalledProcessError:
        return False
    return True


def backend() -> str | None:
    """Return the GL backend that draws here, or None."""
    try:
        return probe_gl()
    except InputError:
        return None


def main() -> None:
    """Try what is there, then the packages one after the other; never fail."""
    found = backend()
    apt = shutil.which("apt-get") is not None
    if found is None and apt and os.geteuid() == 0:
        for packages in GL_PACKAGES.values():
            print(f"setup: no GL backend draws here; installing {packages}", flush=True)
            if install(packages) and (found := backend()) is not None:
                break
    if found is not None:
        print(f"setup: MuJoCo draws with MUJOCO_GL={found}")
        return
    print("setup: MuJoCo cannot draw here, so training will leave no video; everything else works.")
    if apt:
        print(f"setup: to mend it: {install_command('egl')}")


if __name__ == "__main__":
    main()
