"""`warren server`, `warren worker`: start the parts.

The server and the worker are other distributions and are never imported here; this process becomes them.
"""

from __future__ import annotations

import importlib.util
import os
import sys

import click

from warren.cli.exits import FAILED, Failure


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen; WARREN_SERVER_BIND, else 127.0.0.1:8000.")
@click.option("--tasks", metavar="MODULES", help="Modules with tasks, separated by commas; else WARREN_TASKS.")
def server(bind: str | None, tasks: str | None) -> None:
    """Run the HTTP server; everything else is set by WARREN_* variables."""
    become("warren_server", {"WARREN_SERVER_BIND": bind, "WARREN_TASKS": tasks})


@click.command()
@click.option("--queues", metavar="NAMES", help="Queues to work on, separated by commas; else those of the tasks.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs at a time; else WARREN_WORKER_CONCURRENCY.")
@click.option("--tasks", metavar="MODULES", help="Modules with tasks, separated by commas; else WARREN_TASKS.")
@click.option("--once", is_flag=True, help="Run one job and end.")
def worker(queues: str | None, concurrency: int | None, tasks: str | None, once: bool) -> None:
    """Run a worker; everything else is set by WARREN_* variables."""
    become(
        "warren_worker",
        {
            "WARREN_WORKER_QUEUES": queues,
            "WARREN_WORKER_CONCURRENCY": None if concurrency is None else str(concurrency),
            "WARREN_TASKS": tasks,
            "WARREN_WORKER_ONCE": "true" if once else None,
        },
    )


def become(module: str, settings: dict[str, str | None]) -> None:
    """Replace this process by `python -m module`, with some variables set.

    Raises:
        Failure: The module is not installed.
    """
    if importlib.util.find_spec(module) is None:
        package = module.replace("_", "-")
        raise Failure(f"{package} is not installed here; install it: pip install {package}", FAILED)
    environment = {**os.environ, **{name: value for name, value in settings.items() if value is not None}}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", module], environment)  # noqa: S606 - no shell is wanted
