"""`warren dead`: the jobs that ran out of attempts."""

from __future__ import annotations

import click

from warren.cli.output import Output
from warren.cli.parameters import with_server
from warren.client import Client
from warren.client.views import JobError


@click.group()
def dead() -> None:
    """Look at dead letters."""


@dead.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Most to show.")
@with_server
def list_dead(client: Client, out: Output, limit: int) -> None:
    """List dead letters, newest first."""
    found = client.dead_letters(limit=limit)
    rows = [
        (letter.id, letter.task, letter.queue, letter.attempt, letter.at, letter.reason, _error(letter.error))
        for letter in found
    ]
    out.table(found, ("id", "task", "queue", "attempt", "died", "reason", "last error"), rows)


@dead.command("show")
@click.argument("letter_id", metavar="ID")
@with_server
def show_dead(client: Client, out: Output, letter_id: str) -> None:
    """Show the dead letter ID: how it died, its last traceback and its message."""
    letter = client.dead_letter(letter_id)
    error = letter.error
    out.pairs(
        letter,
        [
            ("id", letter.id),
            ("job", letter.job),
            ("task", letter.task),
            ("queue", letter.queue),
            ("attempt", letter.attempt),
            ("died", letter.at),
            ("worker", letter.worker),
            ("reason", letter.reason),
            ("error", _error(error)),
            ("body", letter.body),
        ],
    )
    if not out.as_json and error is not None and error.traceback:
        out.text(f"\n{error.traceback}")


def _error(error: JobError | None) -> str | None:
    return None if error is None else f"{error.type}: {error.message}"
