"""`warren submit`: submit a job, and perhaps wait for it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import IO, Any

import click

from warren.cli import parameters, show
from warren.cli.exits import FAILED
from warren.cli.output import Output
from warren.cli.parameters import DURATION, MOMENT, with_server
from warren.client import Client, SubmitOptions


@click.command()
@click.argument("task")
@click.argument("words", metavar="[KEY=TEXT | KEY:=JSON]...", nargs=-1)
@click.option("--arguments", type=click.File("r", encoding="utf-8"), help="File with the JSON object; `-` for stdin.")
@click.option("--queue", help="Queue to go to, instead of the task's.")
@click.option("--delay", type=DURATION, help="Start after this time: 90, 5m, 1.5h, 7d.")
@click.option("--run-at", type=MOMENT, help="Start at this time, RFC 3339.")
@click.option("--priority", type=click.IntRange(0, 9), default=0, help="0 to 9, higher is served first.")
@click.option("--timeout", type=DURATION, help="Limit of one attempt.")
@click.option("--max-attempts", type=click.IntRange(min=1), help="Runs before the job is a dead letter.")
@click.option("--expires-in", type=DURATION, help="Do not start it later than this from now.")
@click.option("--key", "idempotency_key", help="Names this submit: given again, it is the same job.")
@click.option("--wait", is_flag=True, help="Wait until the job is final; exit 1 unless it succeeded.")
@click.option("--wait-timeout", type=DURATION, default=300.0, help="How long to wait.  [default: 5m]")
@with_server
def submit(
    client: Client,
    out: Output,
    task: str,
    words: tuple[str, ...],
    arguments: IO[str] | None,
    wait: bool,
    wait_timeout: float,
    delay: float | None,
    run_at: datetime | None,
    idempotency_key: str | None,
    **options: Any,
) -> None:
    """Submit a job of TASK with its arguments.

    \b
    warren submit image.thumbnail path=cat.png width:=128 --wait
    """  # noqa: D301 - \b is click's mark for lines to keep as they are
    if delay is not None and run_at is not None:
        raise click.UsageError("--delay and --run-at are two ways to say one thing; give one")
    given = {**_from_file(arguments), **parameters.pairs(words)}
    asked = SubmitOptions(delay=delay, run_at=run_at, **options)  # type: ignore[typeddict-item]  # checked by click
    job = client.submit(task, given, idempotency_key=idempotency_key, **asked)
    if not wait:
        show.submitted(out, job)
        return
    done = client.wait(job, timeout_seconds=wait_timeout)
    show.job(out, done)
    if not done.succeeded:
        raise click.exceptions.Exit(FAILED)


def _from_file(source: IO[str] | None) -> dict[str, Any]:
    if source is None:
        return {}
    try:
        found = json.load(source)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--arguments") from error
    if not isinstance(found, dict):
        raise click.BadParameter("must hold a JSON object", param_hint="--arguments")
    return found
