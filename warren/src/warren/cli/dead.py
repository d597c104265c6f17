"""`warren dead`: the jobs that ran out of attempts, and what is done about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import click

from warren.cli import parameters, show
from warren.cli.exits import FAILED, Failure
from warren.cli.filters import with_filter
from warren.cli.output import Output, note
from warren.cli.parameters import DURATION, confirm, with_server
from warren.cli.redrives import redrive, redrives, stop
from warren.client import Affected, Client, DeadLetterFilter, RetryOptions


@click.group()
def dead() -> None:
    """Look at dead letters, bring them back, delete them."""


@dead.command("list")
@with_filter
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Most to show.")
@with_server
def list_dead(client: Client, out: Output, wanted: DeadLetterFilter, limit: int) -> None:
    """List dead letters, newest first."""
    show.dead_letters(out, client.dead_letters(limit=limit, **wanted).dead_letters)


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
            ("outcome", letter.outcome),
            ("died", letter.at),
            ("worker", letter.worker),
            ("image", letter.image),
            ("reason", letter.reason),
            ("error", show.error(error)),
            ("body", letter.body),
        ],
    )
    if not out.as_json and error is not None and error.traceback:
        out.text(f"\n{error.traceback}")


@dead.command()
@with_filter
@with_server
def summary(client: Client, out: Output, wanted: DeadLetterFilter) -> None:
    """Count dead letters by queue, task and class of error, the most frequent first."""
    found = client.dead_letter_summary(**wanted)
    if out.as_json:
        out.document(found)
        return
    rows = [
        (group.count, group.queue, group.task, group.error, group.first_at, group.last_at) for group in found.groups
    ]
    out.table(found.groups, ("count", "queue", "task", "error", "first", "last"), rows)
    note(f"{found.total} dead letters")


@dead.command()
@click.argument("letter_id", metavar="ID")
@click.argument("words", metavar="[KEY=TEXT | KEY:=JSON]...", nargs=-1)
@click.option("--arguments", type=click.File("r", encoding="utf-8"), help="File with all arguments; `-` for stdin.")
@click.option("--queue", help="Queue to go to, instead of its own.")
@click.option("--delay", type=DURATION, help="Start after this time: 90, 5m, 1.5h, 7d.")
@click.option("--max-attempts", type=click.IntRange(min=1), help="Runs before it is a dead letter again.")
@click.option("--timeout", type=DURATION, help="Limit of one attempt.")
@click.option("--wait", is_flag=True, help="Wait until the job is final; exit 1 unless it succeeded.")
@click.option("--wait-timeout", type=DURATION, default=300.0, help="How long to wait.  [default: 5m]")
@with_server
def retry(
    client: Client,
    out: Output,
    letter_id: str,
    words: tuple[str, ...],
    arguments: IO[str] | None,
    delay: float | None,
    wait: bool,
    wait_timeout: float,
    **options: Any,
) -> None:
    """Retry the dead letter ID; arguments given replace those of the same name, the others stay.

    \b
    warren dead retry 018f4e8a-0000-7000-8000-000000000001 width:=128 --wait
    """  # noqa: D301 - \b is click's mark for lines to keep as they are
    changes = RetryOptions(
        arguments=_edited(client, letter_id, arguments, words),
        # The server counts in whole seconds, and no job is early.
        delay=None if delay is None else -int(-delay // 1),
        **options,  # type: ignore[typeddict-item]  # checked by click
    )
    job = client.retry_dead_letter(letter_id, **changes)
    if not wait:
        show.submitted(out, job)
        return
    done = client.wait(job, timeout_seconds=wait_timeout)
    show.job(out, done)
    if not done.succeeded:
        raise click.exceptions.Exit(FAILED)


@dead.command()
@click.argument("letter_id", metavar="[ID]", required=False)
@with_filter
@click.option("--all", "everything", is_flag=True, help="All dead letters; needed without an ID or filter.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_server
def purge(
    client: Client,
    out: Output,
    letter_id: str | None,
    wanted: DeadLetterFilter,
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete the dead letter ID, or all that match, for good."""
    if sum((letter_id is not None, bool(wanted), everything)) != 1:
        raise click.UsageError("give an ID, or what the dead letters have in common, or --all")
    if letter_id is not None:
        _purge_one(client, out, letter_id, dry_run=dry_run, yes=yes)
        return
    found = client.purge_dead_letters(everything=everything, dry_run=True, **wanted)
    if dry_run:
        show.affected(out, found, "would be deleted")
        return
    confirm(f"Delete {found.count} dead letters for good?", yes=yes)
    purged = client.purge_dead_letters(everything=everything, **wanted)
    if out.as_json:
        out.document(purged)
    else:
        note(f"deleted {purged.count} dead letters{'' if purged.complete else '; there are more, say it again'}")


def _purge_one(client: Client, out: Output, letter_id: str, *, dry_run: bool, yes: bool) -> None:
    if dry_run:
        show.affected(out, Affected(dry_run=True, count=1, sample=(client.dead_letter(letter_id),)), "would be deleted")
        return
    confirm(f"Delete dead letter {letter_id} for good?", yes=yes)
    client.delete_dead_letter(letter_id)
    if out.as_json:
        out.document({"id": letter_id, "deleted": True})
    else:
        note(f"dead letter {letter_id} deleted")


def _edited(client: Client, letter_id: str, source: IO[str] | None, words: tuple[str, ...]) -> Mapping[str, Any] | None:
    """Return the arguments to send, or None to leave them as they are."""
    given = parameters.pairs(words)
    if source is not None:
        return {**_object(source.read(), "--arguments"), **given}
    if not given:
        return None
    body = client.dead_letter(letter_id).body or b""
    return {**_object(body.decode(errors="replace"), letter_id), **given}


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Failure(f"{where}: not JSON: {error}", FAILED) from error
    if not isinstance(found, dict):
        raise Failure(f"{where}: must hold a JSON object", FAILED)
    return found


for command in (redrive, redrives, stop):
    dead.add_command(command)
