"""Chromium, the system's own: `python tests/browser/packages.py` installs it where it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from warren.local.packages import can_install, services_held

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the browser's path, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    """Install Chromium when it is not there and it can be.

    Returns:
        The exit status.
    """
    if find_chromium() is not None:
        return 0
    if not can_install():
        sys.stderr.write("no Chromium on this machine (Debian, Ubuntu: sudo apt-get install chromium)\n")
        return 1
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
    with services_held():
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True)
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(f"Chromium could not be installed: {done.stderr.strip()[-300:]}\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
