"""Authors' code type-checks strictly, and their mistakes do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPING = ROOT / "tests" / "typing"


def check(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        [*command, "--no-error-summary", "--cache-dir", str(cache), str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
    )


def test_code_as_authors_write_it_type_checks(tmp_path: Path) -> None:
    checked = check(TYPING / "author_tasks.py", tmp_path)

    assert checked.stdout == ""
    assert checked.returncode == 0, checked.stderr


def test_every_mistake_is_refused_and_nothing_else(tmp_path: Path) -> None:
    source = (TYPING / "author_mistakes.py").read_text(encoding="utf-8").splitlines()
    expected = {number for number, line in enumerate(source, start=1) if line.endswith("# error")}

    checked = check(TYPING / "author_mistakes.py", tmp_path)

    found = {int(number) for number in re.findall(r"author_mistakes\.py:(\d+): error", checked.stdout)}
    assert found == expected, checked.stdout + checked.stderr
    assert len(expected) == 9
