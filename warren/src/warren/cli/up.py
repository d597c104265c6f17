"""`warren up`: the whole stack on this machine."""

from __future__ import annotations

import click


@click.command()
def up() -> None:
    """Run broker, server and workers on this machine until Ctrl-C; data stays in .warren/."""
    from warren.local import stack

    stack.up()
