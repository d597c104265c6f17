"""`warren dead`: the jobs that ran out of attempts."""

from __future__ import annotations

import click

from warren.cli import show
from warren.cli.output import Output
from warren.cli.parameters import with_server
from warren.client import Client


@click.group()
def dead() -> None:
    """Look at dead letters."""


@dead.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Most to show.")
@with_server
def list_dead(client: Client, out: Output, limit: int) -> None:
    """List dead letters, newest first."""
    found = client.dead_letters(limit=limit)
    rows = [(letter.id, letter.task, letter.queue, letter.attempt, letter.at, letter.reason) for letter in found]
    out.table(found, ("id", "task", "queue", "attempt", "died", "reason"), rows)


@dead.command("show")
@click.argument("job_id", metavar="JOB")
@with_server
def show_dead(client: Client, out: Output, job_id: str) -> None:
    """Show how JOB died, with its last traceback."""
    view = client.job(job_id)
    show.job(out, view)
    if not out.as_json and show.traceback(view):
        out.text(f"\n{show.traceback(view)}")
