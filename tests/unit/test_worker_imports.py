"""What a worker's process looks like to the task authors' modules, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("first", ["import warren.task", "import warren_worker.runner", "from warren import task"])
def test_the_decorator_is_found_in_the_package_whatever_was_imported_first(first: str) -> None:
    code = f"{first}\nfrom warren import task\nassert callable(task), task\nimport warren.task\nassert callable(task)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("module", ["warren_worker.runner", "warren_worker.child"])
def test_a_worker_does_not_load_what_only_clients_and_servers_need(module: str) -> None:
    others = ("httpx", "click", "flask", "sqlalchemy")
    code = f"import sys, {module}\nprint([name for name in {others} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
