"""Importing the package stays cheap."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pika", "httpx", "pydantic", "flask", "click", "rich", "prometheus_client", "structlog", "sqlalchemy")
MEASURE = "import time; began = time.perf_counter(); import warren; print(time.perf_counter() - began)"


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def test_importing_warren_takes_at_most_150_ms() -> None:
    best = min(float(run(MEASURE)) for _ in range(5))

    assert best <= 0.150


def test_importing_warren_imports_nothing_heavy() -> None:
    loaded = run(f"import sys, warren; print(*(name for name in {HEAVY} if name in sys.modules))")

    assert loaded == ""


def test_declaring_a_task_imports_nothing_heavy() -> None:
    program = f"import sys; from warren import task, Retry, Context; print(*(n for n in {HEAVY} if n in sys.modules))"

    assert run(program) == ""
