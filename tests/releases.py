"""The last release's sources, beside today's: taken out of the git history, run with the same dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAST = "97d3f4f8db966feed36e0400862a6e5ffcafab34"
"""Until there is a release: the first commit that had a server, workers and a scaler."""
MEMBERS = ("warren", "server", "worker")
PACKAGES = ("warren", "warren_server", "warren_worker")


def last_release(folder: Path) -> Path:
    """Lay the last release's sources into a folder; skip the test where the history does not reach back to them."""
    known = subprocess.run(["git", "cat-file", "-e", f"{LAST}^{{commit}}"], cwd=ROOT, capture_output=True)
    if known.returncode != 0:
        pytest.skip(f"the git history here has no commit {LAST[:7]}, the last release: {known.stderr.decode().strip()}")
    archive = subprocess.run(["git", "archive", LAST, *MEMBERS], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def python_path(sources: Path) -> str:
    """Return a `PYTHONPATH` that puts a release's sources before those that are installed."""
    return os.pathsep.join([*(str(sources / member / "src") for member in MEMBERS), str(ROOT / "tests")])


def imported_from(path: str) -> dict[str, Path]:
    """Return where a Python with this `PYTHONPATH` finds Warren's packages."""
    told = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(PACKAGES)}; print(*(m.__file__ for m in ({', '.join(PACKAGES)})))"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        check=True,
    )
    return {name: Path(file) for name, file in zip(PACKAGES, told.stdout.decode().split(), strict=True)}
