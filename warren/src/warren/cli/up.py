"""`warren up`: the whole stack on this machine."""

from __future__ import annotations

import click


@click.command()
@click.option("--tasks", metavar="MODULES", help="Modules with tasks, separated by commas; else WARREN_TASKS.")
@click.option("--bind", metavar="HOST:PORT", help="Where the server listens; else 127.0.0.1:8000.")
@click.option("--min", "minimum", type=click.IntRange(min=0), help="Fewest workers; WARREN_SCALER_MIN, else 0.")
@click.option(
    "--max", "--max-workers", "maximum", type=click.IntRange(min=1), help="Most workers; WARREN_SCALER_MAX, else 8."
)
def up(tasks: str | None, bind: str | None, minimum: int | None, maximum: int | None) -> None:
    """Run broker, server and workers on this machine until Ctrl-C; data stays in .warren/."""
    from warren.local import stack

    raise click.exceptions.Exit(stack.up(tasks=tasks, bind=bind, minimum=minimum, maximum=maximum))
