"""`warren dead redrive`, `redrives`, `stop`: dead letters back to their queues."""

from __future__ import annotations

import time
from typing import Final

import click

from warren.cli import show
from warren.cli.exits import FAILED, Failure
from warren.cli.filters import with_filter
from warren.cli.output import Output, note
from warren.cli.parameters import DURATION, confirm, with_server
from warren.client import Client, DeadLetterFilter, RedriveView

_POLL_SECONDS: Final = 0.5


@click.command()
@with_filter
@click.option("--all", "everything", is_flag=True, help="All dead letters; needed without a filter.")
@click.option("--rate", type=click.FloatRange(0, 100_000, min_open=True), help="Jobs a second; no limit unless given.")
@click.option("--dry-run", is_flag=True, help="Show what would be moved, and move nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Wait until it is over; exit 1 unless every letter was moved.")
@click.option("--wait-timeout", type=DURATION, default=3600.0, help="How long to wait.  [default: 1h]")
@with_server
def redrive(
    client: Client,
    out: Output,
    wanted: DeadLetterFilter,
    everything: bool,
    rate: float | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    wait_timeout: float,
) -> None:
    """Bring dead letters back to their queues, with all their attempts anew.

    \b
    warren dead redrive --task image.thumbnail --error OSError --rate 50 --wait
    """  # noqa: D301 - \b is click's mark for lines to keep as they are
    if bool(wanted) == everything:
        raise click.UsageError("say what the dead letters have in common, or --all")
    found = client.preview_redrive(**wanted)
    if dry_run:
        show.affected(out, found, "would be moved")
        return
    confirm(f"Bring {found.count} dead letters back to their queues?", yes=yes)
    begun = client.redrive(everything=everything, rate=rate, **wanted)
    if not wait:
        _show(out, begun)
        return
    done = follow(client, begun, wait_timeout, quiet=out.as_json)
    _show(out, done)
    if done.state != "done" or done.failed:
        raise click.exceptions.Exit(FAILED)


@click.command()
@with_server
def redrives(client: Client, out: Output) -> None:
    """List the latest redrives."""
    found = client.redrives()
    rows = [
        (each.id, each.state, each.moved, each.total, each.failed, each.rate, each.created_at, each.error)
        for each in found
    ]
    out.table(found, ("id", "state", "moved", "of", "failed", "rate", "begun", "last problem"), rows)


@click.command()
@click.argument("redrive_id", metavar="REDRIVE")
@with_server
def stop(client: Client, out: Output, redrive_id: str) -> None:
    """Stop REDRIVE; what it moved stays moved."""
    _show(out, client.stop_redrive(redrive_id))


def follow(client: Client, begun: RedriveView, timeout_seconds: float, *, quiet: bool) -> RedriveView:
    """Wait until a redrive is over, and say now and then how far it is.

    Raises:
        Failure: The time is up.
    """
    deadline = time.monotonic() + timeout_seconds
    last = begun
    while last.running:
        if time.monotonic() > deadline:
            raise Failure(f"redrive {begun.id} is not over after {timeout_seconds:g} s; it goes on", FAILED)
        time.sleep(_POLL_SECONDS)
        now = client.get_redrive(begun.id)
        if not quiet and now.moved != last.moved:
            note(f"moved {now.moved} of {now.total}")
        last = now
    return last


def _show(out: Output, view: RedriveView) -> None:
    out.pairs(
        view,
        [
            ("id", view.id),
            ("state", view.state),
            ("moved", f"{view.moved} of {view.total}"),
            ("failed", view.failed or None),
            ("rate", view.rate),
            ("begun", view.created_at),
            ("ended", view.finished_at),
            ("last problem", view.error),
        ],
    )
