"""`warren queues`: how deep the queues are."""

from __future__ import annotations

import click

from warren.cli.output import Output
from warren.cli.parameters import with_server
from warren.client import Client


@click.command()
@click.argument("name", required=False)
@with_server
def queues(client: Client, out: Output, name: str | None) -> None:
    """List the queues and how deep they are, or show NAME alone."""
    found = [client.queue(name)] if name else client.queues()
    rows = [(queue.name, queue.ready, queue.unacked, queue.consumers) for queue in found]
    out.table(found, ("queue", "ready", "unacked", "consumers"), rows)
