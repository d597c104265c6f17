"""`warren queues`: how deep the queues are, and how they are worked on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import click

from warren.cli.output import Output, note
from warren.cli.parameters import with_server
from warren.client import Client, QueueLimits, QueueView

_COLUMNS: Final = ("queue", "ready", "unacked", "consumers", "paused", "limits")


class Queues(click.Group):
    """`warren queues` alone lists; a word that is no command is the name of a queue to show."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_for_help = bool({"--help", "-h"} & set(args))
        if not ctx.resilient_parsing and not asks_for_help and not any(word in self.commands for word in args):
            args = ["show" if _names_a_queue(args) else "list", *args]
        return super().parse_args(ctx, args)


def _names_a_queue(args: Iterable[str]) -> bool:
    """Whether a word is left that is neither an option nor the value of one."""
    option = ""
    for word in args:
        if not word.startswith("-") and option != "--url":
            return True
        option = word
    return False


class Count(click.ParamType[int]):
    """A number from 1, or `none`, told as 0."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "none":
            return 0
        if not (str(value).isascii() and str(value).isdecimal() and int(value) > 0):
            self.fail(f"{value!r} is neither a number from 1 nor `none`", param, ctx)
        return int(value)


class Rate(click.ParamType[tuple[int, int]]):
    """Jobs per seconds, `100/60`, or `none`, told as zeros."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if value == "none":
            return 0, 0
        found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is no rate: give jobs/seconds, such as 100/60, or `none`", param, ctx)
        return int(found[1]), int(found[2])


@click.group(cls=Queues)
def queues() -> None:
    """List the queues and how deep they are, show one, tell its workers, pause, resume, purge or limit it.

    Without a command: list; `warren queues NAME` shows NAME.
    """


@queues.command("list")
@with_server
def list_queues(client: Client, out: Output) -> None:
    """List the queues and how deep they are."""
    _table(out, client.queues())


@queues.command()
@click.argument("name")
@with_server
def show(client: Client, out: Output, name: str) -> None:
    """Show the queue NAME."""
    _table(out, [client.queue(name)])


@queues.command()
@click.argument("name")
@click.option("--min", "minimum", type=click.IntRange(min=0), help="Fewest workers; else the server's setting.")
@click.option("--max", "maximum", type=click.IntRange(min=0), help="Most workers; likewise.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs that one worker runs at once; likewise.")
@click.option("--slo", type=click.FloatRange(min=0, min_open=True), help="Seconds a job may wait for its start.")
@with_server
def scaling(
    client: Client,
    out: Output,
    name: str,
    minimum: int | None,
    maximum: int | None,
    concurrency: int | None,
    slo: float | None,
) -> None:
    """Show how many workers the queue NAME should have, and why."""
    told = client.queue_scaling(name, min=minimum, max=maximum, concurrency=concurrency, slo_seconds=slo)
    rows = [
        ("desired workers", told.desired_workers),
        ("reason", told.reason),
        ("explanation", told.explanation),
        ("ready", told.ready),
        ("unacked", told.unacked),
        ("consumers", told.consumers),
        ("running", told.running),
        ("expected seconds", None if told.expected_seconds is None else round(told.expected_seconds, 3)),
        ("data age, seconds", round(told.data_age_seconds, 1)),
    ]
    out.pairs(told, rows)


@queues.command()
@click.argument("name")
@with_server
def pause(client: Client, out: Output, name: str) -> None:
    """Let no more jobs of the queue NAME start; those that run go on, submits too."""
    _table(out, [client.pause_queue(name)])


@queues.command()
@click.argument("name")
@with_server
def resume(client: Client, out: Output, name: str) -> None:
    """Let jobs of the queue NAME start again."""
    _table(out, [client.resume_queue(name)])


@queues.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_server
def purge(client: Client, out: Output, name: str, yes: bool) -> None:
    """Cancel every job of the queue NAME that waits now: queued, delayed or to be retried.

    Workers carry it out: each job ends `cancelled`, with a record, when a worker meets it.
    """
    if not yes:
        typed = click.prompt(f"This cancels all waiting jobs of {name}; type the queue's name to go on", err=True)
        if typed != name:
            raise click.UsageError(f"{typed!r} is not {name!r}; nothing was purged")
    done = client.purge_queue(name)
    out.pairs(done, [("queue", done.queue), ("submitted up to", done.before), ("ready now", done.ready)])
    if done.paused:
        note(f"{name} is paused: its jobs end when it is resumed")


@queues.command()
@click.argument("name")
@click.option("--priority", type=click.IntRange(0, 100), help="Queues of higher priority go first at a worker.")
@click.option("--max-length", type=Count(), help="Refuse submits while so many jobs are ready; `none` for no limit.")
@click.option("--concurrency", type=Count(), help="Jobs that run at once on all workers together; `none` for no limit.")
@click.option("--rate", type=Rate(), help="Jobs that start within seconds, such as 100/60; `none` for no limit.")
@with_server
def limits(
    client: Client,
    out: Output,
    name: str,
    priority: int | None,
    max_length: int | None,
    concurrency: int | None,
    rate: tuple[int, int] | None,
) -> None:
    """Show the limits of the queue NAME, or set those that are given and leave the others."""
    known = client.queue_limits(name)
    given: dict[str, int | None] = {}
    if priority is not None:
        given["priority"] = priority
    if max_length is not None:
        given["max_length"] = max_length or None
    if concurrency is not None:
        given["concurrency"] = concurrency or None
    if rate is not None:
        given["rate_count"], given["rate_seconds"] = (part or None for part in rate)
    if given:
        known = client.limit_queue(name, replace(known, **given))  # type: ignore[arg-type]  # None only where it may be
    rows = [
        ("priority", known.priority),
        ("max length", known.max_length or "none"),
        ("concurrency", known.concurrency or "none"),
        ("rate", _rate(known) or "none"),
    ]
    out.pairs(known, rows)


def _table(out: Output, found: list[QueueView]) -> None:
    rows = [
        (
            queue.name,
            queue.ready,
            queue.unacked,
            queue.consumers,
            "paused" if queue.paused else None,
            "" if queue.limits is None else _limits(queue.limits),
        )
        for queue in found
    ]
    out.table(found, _COLUMNS, rows)


def _limits(known: QueueLimits) -> str:
    told = {
        "priority": known.priority or None,
        "length": known.max_length,
        "concurrency": known.concurrency,
        "rate": _rate(known),
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)


def _rate(known: QueueLimits) -> str | None:
    return None if known.rate_count is None else f"{known.rate_count}/{known.rate_seconds}"
