"""`warren status`, `warren watch`, `warren jobs`: look at jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import click

from warren.cli import show
from warren.cli.exits import FAILED
from warren.cli.output import Output
from warren.cli.parameters import DURATION, with_server
from warren.client import Client, JobView
from warren.errors import RequestFailed
from warren.events import State

_POLL_SECONDS = 1.0
_PAGE = 100


@click.command()
@click.argument("job_id", metavar="JOB")
@with_server
def status(client: Client, out: Output, job_id: str) -> None:
    """Show what is known of JOB now."""
    show.job(out, client.job(job_id))


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--timeout", "timeout_seconds", type=DURATION, default=3600.0, help="Give up after.  [default: 1h]")
@with_server
def watch(client: Client, out: Output, job_id: str, timeout_seconds: float) -> None:
    """Follow JOB until it is final; exit 1 unless it succeeded."""
    last: JobView | None = None
    for view in changes(client, job_id, timeout_seconds):
        last = view
        if out.as_json:
            out.line(view)
        else:
            out.text(f"{time.strftime('%H:%M:%S')}  {show.summary(view)}")
    if last is None or not last.final:
        raise RequestFailed(0, "wait-timeout", f"job {job_id} is not final after {timeout_seconds:g} s")
    if not last.succeeded:
        raise click.exceptions.Exit(FAILED)


@click.command()
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only jobs in this state.")
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--task", help="Only jobs of this task.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most jobs to show.")
@with_server
def jobs(client: Client, out: Output, state: str | None, queue: str | None, task: str | None, limit: int) -> None:
    """List jobs, newest first."""
    found = list(islice(_pages(client, state, queue, task, min(limit, _PAGE)), limit))
    rows = [(job.id, job.state.value, job.task, job.queue, job.attempt, job.submitted_at) for job in found]
    out.table(found, ("id", "state", "task", "queue", "attempt", "submitted"), rows)


def changes(client: Client, job_id: str, timeout_seconds: float) -> Iterator[JobView]:
    """Yield a job each time something about it changed, until it is final or the time is up."""
    deadline = time.monotonic() + timeout_seconds
    last: JobView | None = None
    while (remaining := deadline - time.monotonic()) > 0:
        began = time.monotonic()
        view = client.job(job_id, wait_seconds=min(_POLL_SECONDS, remaining))
        if view != last:
            yield view
        if view.final:
            return
        last = view
        # A server that answers at once is not asked more than some times a second.
        time.sleep(max(0.0, min(0.2, remaining) - (time.monotonic() - began)))


def _pages(client: Client, state: str | None, queue: str | None, task: str | None, page_size: int) -> Iterator[JobView]:
    cursor: str | None = None
    while True:
        page = client.jobs(state=state, queue=queue, task=task, limit=page_size, cursor=cursor)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None or not page.jobs:
            return
