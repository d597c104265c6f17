"""`warren topology`: what Warren needs on the broker, and bringing back what lost its queue. Talks to the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from warren.cli.exits import FAILED, Failure
from warren.cli.output import Output, note
from warren.cli.parameters import with_output
from warren.errors import TopologyError, TransportError, Unavailable
from warren.settings import BrokerSettings, TaskSettings, load
from warren.task import load_tasks
from warren.topology import DEFAULT_QUEUE
from warren.topology import topology as describe

if TYPE_CHECKING:
    from warren.amqp import AmqpTransport
    from warren.amqp.repair import Repair

_CONNECT_SECONDS = 10.0


@click.group()
def topology() -> None:
    """Apply, check or show what the broker must have, and repair what lost its queue."""


def _with_queues(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which job queues are meant, and their names as its first argument."""

    @click.option("--queue", "names", multiple=True, metavar="NAME", help="A job queue; may be given more than once.")
    @click.option("--tasks", "modules", metavar="MODULES", help="Modules whose queues are meant; else WARREN_TASKS.")
    @wraps(command)
    def wrapped(*args: Any, names: tuple[str, ...], modules: str | None, **kwargs: Any) -> None:
        known = load_tasks(load(TaskSettings, tasks=modules).tasks).queues()
        try:
            command(*args, describe([DEFAULT_QUEUE, *known, *names]), **kwargs)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return wrapped


@topology.command()
@with_output
@_with_queues
def show(out: Output, wanted: Any) -> None:
    """Show exchanges, queues, bindings and policies, for whoever applies them by other means; asks no broker."""
    if out.as_json:
        out.document(wanted)
        return
    rows = [
        *(("exchange", each.name, each.type) for each in wanted.exchanges),
        *(("queue", each.name, each.type) for each in wanted.queues),
        *(
            ("binding", each.source, f"{each.key or '(any)'} to {each.to} {each.destination}")
            for each in wanted.bindings
        ),
        *(("policy", each.name, f"{each.pattern} {each.definition}") for each in wanted.policies),
    ]
    out.table(rows, ("kind", "name", "what"), rows)


@topology.command()
@with_output
@_with_queues
def apply(out: Output, wanted: Any) -> None:
    """Declare what is missing and set the policies; the login must be allowed to. Changes nothing that is right."""
    from warren.amqp.topology import provide

    settings = load(BrokerSettings, topology="apply")
    with _connected(settings) as transport:
        provide(transport, settings, wanted)
    out.pairs(
        {"exchanges": len(wanted.exchanges), "queues": len(wanted.queues), "policies": len(wanted.policies)},
        [("exchanges", len(wanted.exchanges)), ("queues", len(wanted.queues)), ("policies", len(wanted.policies))],
    )


@topology.command()
@with_output
@_with_queues
def check(out: Output, wanted: Any) -> None:
    """Look for every exchange, queue and policy, and make none; exit 1 when something is missing."""
    from warren.amqp import topology as on_broker
    from warren.amqp.management import Management

    settings = load(BrokerSettings)
    with _connected(settings) as transport:
        missing = on_broker.missing(transport, wanted)
    try:
        with Management(settings) as management:
            missing += [f"policy {name}" for name in management.missing_policies(wanted.policies)]
    except TransportError as error:
        note(f"policies were not looked at: {error}")
    out.table(missing, ("missing",), [(name,) for name in missing])
    if missing:
        raise click.exceptions.Exit(FAILED)


@topology.command()
@click.option("--create", is_flag=True, help="Make the queues that are missing; the login must be allowed to.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@with_output
def repair(out: Output, create: bool, dry_run: bool) -> None:
    """Bring jobs that came due for a missing queue back to it, as far as it exists now.

    Jobs whose queue is still missing stay and are listed. Messages that are no jobs go to the dead letters. It may be
    stopped at any moment and run again: no job is lost, a few may be there twice, as after any redelivery.
    """
    from warren.amqp.repair import repair as run
    from warren.amqp.topology import provide

    settings = load(BrokerSettings, topology="apply") if create else load(BrokerSettings)
    with _connected(settings) as transport:
        done = run(
            transport,
            create=(lambda queue: provide(transport, settings, describe([queue]))) if create else None,
            dry_run=dry_run,
        )
    _report(out, done, dry_run=dry_run)


def _report(out: Output, done: Repair, *, dry_run: bool) -> None:
    if out.as_json:
        out.document(done)
        return
    rows = [
        *((queue, "to be moved" if dry_run else "moved back", count) for queue, count in done.moved.items()),
        *((queue, "missing, left", count) for queue, count in done.missing.items()),
        *([("", "no job, to the dead letters", done.dead)] if done.dead else []),
    ]
    out.table(rows, ("queue", "what", "messages"), rows)
    if done.missing:
        note("declare the missing queues (start a worker for them, or --create), then run repair again")
    if done.looked_at < done.found:
        note(f"looked at {done.looked_at} of {done.found} messages")


@contextmanager
def _connected(settings: BrokerSettings) -> Iterator[AmqpTransport]:
    from warren.amqp import connect

    transport = connect(settings)
    transport.start()
    try:
        if not transport.wait_ready(_CONNECT_SECONDS):
            raise Unavailable(f"the broker takes no messages in {_CONNECT_SECONDS:g} s; `warren doctor` says why")
        yield transport
    except TopologyError as error:
        raise Failure(str(error), FAILED) from error
    finally:
        transport.stop(1.0)
