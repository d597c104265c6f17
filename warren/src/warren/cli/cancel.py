"""`warren cancel`: cancel jobs, by their ids or all that match."""

from __future__ import annotations

from datetime import datetime

import click

from warren.cli.output import Output, note
from warren.cli.parameters import MOMENT, confirm, with_server
from warren.client import CancelView, Client


@click.command()
@click.argument("job_ids", metavar="[JOB]...", nargs=-1)
@click.option("--queue", help="All jobs of this queue.")
@click.option("--task", help="All jobs of this task; with --queue only those that have both.")
@click.option("--before", type=MOMENT, help="Only those submitted up to this time, RFC 3339; up to now unless given.")
@click.option("--waiting-only", is_flag=True, help="Leave alone what runs when the order comes.")
@click.option("--yes", is_flag=True, help="Do not ask before all that match are cancelled.")
@with_server
def cancel(
    client: Client,
    out: Output,
    job_ids: tuple[str, ...],
    queue: str | None,
    task: str | None,
    before: datetime | None,
    waiting_only: bool,
    yes: bool,
) -> None:
    """Cancel each JOB, or all jobs of a queue or task.

    The order is kept until no worker can need it, also while none runs. `warren status` shows what came of it.
    """
    matching = queue is not None or task is not None
    if bool(job_ids) == matching or ((before or waiting_only) and not matching):
        raise click.UsageError("give ids of jobs, or --queue or --task with what else the jobs have in common")
    if len(job_ids) == 1:
        view = client.cancel(job_ids[0])
        out.pairs(view, [("id", view.id), ("state", view.state.value), ("cancel requested", view.cancel_requested_at)])
        return
    if matching:
        _ask(queue, task, waiting_only, yes=yes)
        told = client.cancel_many(queue=queue, task=task, before=before, waiting_only=waiting_only)
    else:
        told = client.cancel_many(job_ids)
    _show(out, told)


def _ask(queue: str | None, task: str | None, waiting_only: bool, *, yes: bool) -> None:
    named = [f"{what} {name}" for what, name in (("queue", queue), ("task", task)) if name is not None]
    confirm(f"Cancel all {'waiting ' if waiting_only else ''}jobs of {' and '.join(named)}?", yes=yes)


def _show(out: Output, told: CancelView) -> None:
    if out.as_json:
        out.document(told)
    else:
        count = "all that match, not counted" if told.requested is None else f"{told.requested} jobs"
        note(f"asked for {count} to be cancelled")
