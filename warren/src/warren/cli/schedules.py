"""`warren schedules`: jobs by the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click

from warren.cli import parameters, show
from warren.cli.exits import Failure, exit_code
from warren.cli.output import Output, note
from warren.cli.parameters import DURATION, MOMENT, with_server
from warren.client import Client, ScheduleDefinition, ScheduleView
from warren.errors import RequestFailed, WarrenError
from warren.schedules import read_schedules


@click.group()
def schedules() -> None:
    """Submit jobs by the clock: list, set, pause, run and declare schedules."""


@schedules.command("list")
@with_server
def list_schedules(client: Client, out: Output) -> None:
    """List the schedules."""
    found = client.schedules()
    rows = [(item.name, _when(item), item.task, _state(item), item.next_at, item.source) for item in found]
    out.table(found, ("schedule", "when", "task", "state", "next", "source"), rows)


@schedules.command("show")
@click.argument("name")
@with_server
def show_schedule(client: Client, out: Output, name: str) -> None:
    """Show the schedule NAME with its next and last ticks."""
    found = client.schedule(name)
    _show(out, found)
    if not out.as_json and found.last_ticks:
        out.text("")
        rows = [(tick.at, tick.state, tick.fired_at, tick.job, tick.error) for tick in found.last_ticks]
        out.table(found.last_ticks, ("last ticks", "state", "fired", "job", "error"), rows)


@schedules.command("set")
@click.argument("name")
@click.argument("task")
@click.argument("words", metavar="[KEY=TEXT | KEY:=JSON]...", nargs=-1)
@click.option("--cron", help="Cron expression: minute hour day-of-month month day-of-week.")
@click.option("--interval", type=DURATION, help="Time from tick to tick, instead of --cron: 90, 5m, 1h.")
@click.option("--timezone", help="IANA time zone of --cron.  [default: UTC]")
@click.option("--start", type=MOMENT, help="No tick before this time, RFC 3339; intervals count from it.")
@click.option("--jitter", type=DURATION, help="Delay each job by up to this time.")
@click.option(
    "--catch-up",
    type=click.Choice(["skip", "one", "all"]),
    help="What becomes of missed ticks: none fires, the latest, or each.  [default: one]",
)
@click.option("--queue", help="Queue its jobs go to, instead of the task's.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9, higher is served first.")
@click.option("--timeout", type=DURATION, help="Limit of one attempt.")
@click.option("--max-attempts", type=click.IntRange(min=1), help="Runs before a job is a dead letter.")
@click.option("--expires-in", type=DURATION, help="Do not start a job later than this after its tick fired.")
@click.option("--paused/--not-paused", default=None, help="Whether it rests; as it was unless given.")
@click.option("--dry-run", is_flag=True, help="Only check it, and show its next ticks.")
@with_server
def set_schedule(
    client: Client,
    out: Output,
    name: str,
    task: str,
    words: tuple[str, ...],
    interval: float | None,
    start: datetime | None,
    jitter: float | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Make the schedule NAME for TASK with its arguments, or change it to this.

    \b
    warren schedules set nightly report.build --cron "30 2 * * *" --timezone Europe/Berlin days:=1
    """  # noqa: D301 - \b is click's mark for lines to keep as they are
    if (options["cron"] is None) == (interval is None):
        raise click.UsageError("--cron and --interval are two ways to say when; give one")
    said = {
        "task": task,
        "arguments": parameters.pairs(words),
        "interval": _whole(interval, "--interval"),
        "jitter": _whole(jitter, "--jitter"),
        "start": None if start is None else start.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        **options,
    }
    definition = cast("ScheduleDefinition", {key: value for key, value in said.items() if value is not None})
    made = client.put_schedule(name, definition, dry_run=dry_run)
    _show(out, made)
    if not out.as_json:
        note(f"schedule {name} {'would be ' if dry_run else ''}{made.change}")


@schedules.command()
@click.argument("name")
@with_server
def delete(client: Client, out: Output, name: str) -> None:
    """Remove the schedule NAME; jobs that were submitted stay."""
    client.delete_schedule(name)
    if out.as_json:
        out.document({"name": name, "deleted": True})
    else:
        note(f"schedule {name} deleted")


@schedules.command()
@click.argument("name")
@with_server
def pause(client: Client, out: Output, name: str) -> None:
    """Let the schedule NAME rest."""
    _show(out, client.pause_schedule(name))


@schedules.command()
@click.argument("name")
@with_server
def resume(client: Client, out: Output, name: str) -> None:
    """Let the schedule NAME go on; its policy decides on the ticks it missed."""
    _show(out, client.resume_schedule(name))


@schedules.command()
@click.argument("name")
@with_server
def run(client: Client, out: Output, name: str) -> None:
    """Submit one job of the schedule NAME now, outside its ticks."""
    show.submitted(out, client.run_schedule(name))


@schedules.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="TOML file with a table [schedules.NAME] for each.",
)
@click.option(
    "--prune", is_flag=True, help="Remove schedules that the file does not have, but not those of a server's file."
)
@click.option("--dry-run", is_flag=True, help="Only check, and tell what would change.")
@with_server
def apply(client: Client, out: Output, path: Path, prune: bool, dry_run: bool) -> None:
    """Make the schedules of a file, change those that differ; all are checked before the first is changed."""
    declared = read_schedules(path)
    checked = [(name, *_put(client, path, name, document, dry_run=True)) for name, document in declared.items()]
    failures = [error for _, _, error in checked if error is not None]
    changes = [(name, view.change or "") for name, view, _ in checked if view is not None]
    if prune:
        known = [item.name for item in client.schedules() if item.source == "api"]
        changes += [(name, "deleted") for name in known if name not in declared]
    if failures:
        for failure in failures[:-1]:
            note(failure.format_message())
        raise failures[-1]
    if not dry_run:
        for name, change in changes:
            _do(client, path, name, change, declared)
    out.table(
        [{"name": name, "change": change, "dry_run": dry_run} for name, change in changes],
        ("schedule", "would be" if dry_run else "change"),
        changes,
    )


def _do(client: Client, path: Path, name: str, change: str, declared: dict[str, dict[str, Any]]) -> None:
    if change == "deleted":
        client.delete_schedule(name)
    elif change != "unchanged":
        _, error = _put(client, path, name, declared[name], dry_run=False)
        if error is not None:
            raise error


def _put(
    client: Client, path: Path, name: str, document: dict[str, Any], *, dry_run: bool
) -> tuple[ScheduleView | None, Failure | None]:
    """Put a schedule of a file; a refusal says which schedule of which file it was."""
    try:
        return client.put_schedule(name, cast("ScheduleDefinition", document), dry_run=dry_run), None
    except RequestFailed as error:
        if error.status not in (404, 409, 422):
            raise
        return None, Failure(f"{path}: schedule {name}: {_told(error)}", exit_code(error))


def _told(error: WarrenError) -> str:
    problems = error.problems if isinstance(error, RequestFailed) else ()
    return "; ".join(f"{problem.field}: {problem.message}" for problem in problems) or str(error)


def _show(out: Output, item: ScheduleView) -> None:
    out.pairs(
        item,
        [
            ("schedule", item.name),
            ("when", _when(item)),
            ("task", item.task),
            ("arguments", item.arguments),
            ("state", _state(item)),
            ("start", item.start),
            ("jitter", f"up to {item.jitter} s" if item.jitter else None),
            ("catch up", item.catch_up),
            ("queue", item.queue),
            ("priority", item.priority or None),
            ("timeout", item.timeout),
            ("max attempts", item.max_attempts),
            ("expires in", item.expires_in),
            ("source", item.file or item.source),
            ("next", None if item.next_ticks else item.next_at),
            ("next ticks", item.next_ticks or None),
        ],
    )


def _when(item: ScheduleView) -> str:
    return f"every {item.interval} s" if item.cron is None else f"{item.cron} {item.timezone}"


def _state(item: ScheduleView) -> str:
    return "paused" if item.paused else "active"


def _whole(seconds: float | None, option: str) -> int | None:
    if seconds is None:
        return None
    if seconds != int(seconds):
        raise click.BadParameter(f"{seconds:g} s: must be whole seconds", param_hint=option)
    return int(seconds)
