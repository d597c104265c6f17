"""`warren tasks`: what the server takes jobs for, and the catalog it can be told of it by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from warren.cli.output import Output, note
from warren.cli.parameters import with_output, with_server
from warren.client import Client
from warren.errors import SettingsError
from warren.settings import TaskSettings, load
from warren.task import Task, load_tasks


@click.group()
def tasks() -> None:
    """Look at tasks, and write the catalog of them."""


@tasks.command("list")
@with_server
def list_tasks(client: Client, out: Output) -> None:
    """List the tasks the server takes jobs for."""
    found = client.tasks()
    rows = [(task.name, task.queue, task.timeout_seconds, task.max_attempts, task.description) for task in found]
    out.table(found, ("task", "queue", "timeout", "attempts", "description"), rows)


@tasks.command()
@click.option("--tasks", "modules", metavar="MODULES", help="Modules, separated by commas; else WARREN_TASKS.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    default="catalog.json",
    show_default=True,
    help="File to write; `-` for standard output.",
)
@with_output
def export(out: Output, modules: str | None, output: Path) -> None:
    """Write the catalog: what a server needs to check jobs without importing the tasks (WARREN_CATALOG)."""
    names = load(TaskSettings, tasks=modules).tasks
    if not names.strip():
        raise SettingsError("WARREN_TASKS is '': name the modules that declare tasks, there or with --tasks")
    entries = catalog(load_tasks(names))
    text = json.dumps({"tasks": entries}, indent=2, ensure_ascii=False) + "\n"
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    if out.as_json:
        out.document({"output": str(output), "tasks": len(entries)})
    else:
        note(f"wrote {len(entries)} tasks to {output}")


def catalog(known: Iterable[Task[..., Any]]) -> list[dict[str, Any]]:
    """Describe tasks as the catalog does."""
    return [
        {
            "name": task.name,
            "queue": task.queue,
            "timeout_seconds": task.timeout_seconds,
            "max_attempts": task.retry.max_attempts,
            "isolation": task.isolation,
            "oom_queue": task.oom_queue,
            "description": task.description,
            "schema": task.schema,
        }
        for task in known
    ]
