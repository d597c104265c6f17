"""The demo: start everything, submit a few hundred real jobs, show them finish, stop everything.

Exits 0 when every job is in its right terminal state, 1 otherwise. Run it by `make demo`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from warren.client import Client, JobRequest, JobView
from warren.errors import LocalStackError, RequestFailed, WarrenError
from warren.local.ports import free_port
from warren.local.stack import FOLDER, Stack, StackOptions
from warren_examples import inputs, report

REPOSITORY = Path(__file__).parent.parent
OUTPUT = REPOSITORY / FOLDER / "demo-output"
TEXTS, PICTURES, GREETINGS, FLAKY, DOOMED = 160, 80, 60, 20, 10
MAX_WORKERS = 4
FINISH_SECONDS = 240.0
SHRINK_SECONDS = 60.0
LOOK_SECONDS = 0.25
WORKERS = re.compile(r'^warren_scaler_workers\{[^}]*state="(\w+)"[^}]*\} ([0-9.]+)$', re.MULTILINE)
SETTINGS = {
    "WARREN_SCALER_MIN": "0",
    "WARREN_SCALER_MAX": str(MAX_WORKERS),
    "WARREN_SCALER_JOBS_PER_WORKER": "20",
    "WARREN_SCALER_SLO_SECONDS": "2",
    "WARREN_SCALER_INTERVAL_SECONDS": "0.5",
    "WARREN_SCALER_STABLE_SECONDS": "2",
    "WARREN_WORKER_CONCURRENCY": "4",
}


@dataclass
class Watch:
    """What is seen while the jobs run."""

    client: Client
    stack: Stack
    jobs: dict[str, JobView] = field(default_factory=dict)
    workers: int = 0
    peak: int = 0

    def look(self) -> None:
        """Look at the fleet and at all jobs once."""
        self.stack.check()
        self.workers = sum(self._fleet().values())
        self.peak = max(self.peak, self.workers)
        self.jobs = {job.id: job for job in _all_jobs(self.client)}

    @property
    def finished(self) -> int:
        """Jobs in a terminal state."""
        return sum(job.final for job in self.jobs.values())

    def _fleet(self) -> dict[str, int]:
        text = httpx.get(f"{self.stack.scaler_url}/metrics", trust_env=False, timeout=10).text
        return {state: int(float(value)) for state, value in WORKERS.findall(text) if state != "desired"}


def main() -> int:
    """Run the demo."""
    console = Console(highlight=False)
    _forget_settings()
    (REPOSITORY / FOLDER).mkdir(exist_ok=True)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="demo-", dir=REPOSITORY / FOLDER) as folder:
        options = StackOptions(
            folder=Path(folder),
            bind=f"127.0.0.1:{free_port()}",
            tasks="warren_examples.tasks",
            settings=SETTINGS,
            keep=False,
        )
        try:
            with Stack(options, console.print) as stack, Client(stack.url) as client:
                console.print(f"server: {stack.url}")
                return _run(console, stack, client, Path(folder))
        except WarrenError as error:
            console.print(f"demo failed: {error}", markup=False)
            return 1


def _run(console: Console, stack: Stack, client: Client, folder: Path) -> int:
    requests = list(_requests(folder))
    answers = client.submit_many(requests)
    refused = [answer for answer in answers if isinstance(answer, RequestFailed)]
    accepted = {answer.id: answer.task for answer in answers if isinstance(answer, JobView)}
    console.print(f"submitted {len(accepted)} jobs, {len(refused)} refused")
    watch = Watch(client, stack)
    _follow(console, watch, len(accepted))
    console.print(_table(watch))
    complaints = [str(failure) for failure in refused] + report.wrong(watch.jobs, accepted)
    if watch.workers:
        complaints.append(f"{watch.workers} workers are left, not 0")
    for complaint in complaints:
        console.print(f"wrong: {complaint}", markup=False)
    if not complaints:
        console.print("every job is in its right terminal state")
    return 1 if complaints else 0


def _requests(folder: Path) -> Iterator[JobRequest]:
    for path in islice(cycle(inputs.texts(TEXTS, REPOSITORY)), TEXTS):
        yield JobRequest(task="text.wordcount", arguments={"path": str(path)})
    for number, path in enumerate(islice(cycle(inputs.pictures(PICTURES, folder / "drawn")), PICTURES)):
        arguments = {"path": str(path), "output": str(OUTPUT / f"{number:03d}-{path.stem}.png"), "width": 128}
        yield JobRequest(task="image.thumbnail", arguments=arguments)
    for cmd in islice(cycle(("hey", "hello", "good evening")), GREETINGS):
        yield JobRequest(task="greet", arguments={"cmd": cmd})
    for _ in range(FLAKY):
        yield JobRequest(task="flaky")
    for _ in range(DOOMED):
        yield JobRequest(task="doomed")


def _follow(console: Console, watch: Watch, total: int) -> None:
    """Show the jobs finish, then the fleet return to 0."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fleet]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("jobs", total=total, fleet="")
        shown = ""

        def show() -> None:
            nonlocal shown
            watch.look()
            fleet = f"{watch.workers} of {MAX_WORKERS} workers"
            progress.update(bar, completed=watch.finished, fleet=fleet)
            line = f"{watch.finished}/{total} jobs finished, {fleet}"
            if not console.is_terminal and line != shown:
                console.print(line)
            shown = line

        _until(lambda: watch.finished >= total, show, FINISH_SECONDS)
        _until(lambda: watch.workers == 0, show, SHRINK_SECONDS)


def _until(done: Callable[[], bool], look: Callable[[], None], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    look()
    while not done() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        look()


def _all_jobs(client: Client) -> Iterator[JobView]:
    cursor: str | None = None
    while True:
        page = client.jobs(cursor=cursor)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None:
            return


def _table(watch: Watch) -> Table:
    found = report.totals(list(watch.jobs.values()))
    table = Table(title="demo", show_header=False)
    for name, value in (
        ("jobs", found.jobs),
        ("succeeded", found.succeeded),
        ("retried", found.retried),
        ("dead", found.dead),
        ("wait p50 / p95", f"{found.wait_p50:.2f} s / {found.wait_p95:.2f} s"),
        ("run p50 / p95", f"{found.run_p50 * 1000:.1f} ms / {found.run_p95 * 1000:.1f} ms"),
        ("peak workers", watch.peak),
        ("outputs", OUTPUT.relative_to(REPOSITORY)),
    ):
        table.add_row(name, str(value))
    return table


def _forget_settings() -> None:
    """Drop `WARREN_*` but where the broker is: the demo is the same everywhere."""
    for name in list(os.environ):
        if name.startswith("WARREN_") and not name.startswith("WARREN_AMQP_"):
            del os.environ[name]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except LocalStackError as error:
        sys.exit(str(error))
