"""libfaketime, which sets the clock of a process: `python tests/faults/packages.py` installs it where it can.

The tests of skewed clocks are skipped without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from warren.local.packages import can_install, services_held

PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")


def find_faketime() -> Path | None:
    """Return the library for programs with threads, or None."""
    found = (path for place in PLACES for path in Path(place).glob("**/libfaketimeMT.so.1"))
    return next(found, None)


def main() -> int:
    """Install libfaketime when it is not there and it can be.

    Returns:
        The exit status, always 0: the other faults do not need it.
    """
    if find_faketime() is not None:
        return 0
    if not can_install():
        advice = "Debian, Ubuntu: sudo apt-get install libfaketime"
        sys.stdout.write(f"no libfaketime on this machine, so F9 is skipped ({advice})\n")
        return 0
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "libfaketime"]
    with services_held():
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True)
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.stdout.write(f"libfaketime could not be installed, so F9 is skipped: {done.stderr.strip()[-300:]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
