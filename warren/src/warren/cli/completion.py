"""`warren completion`: completion for shells; `warren version`."""

from __future__ import annotations

import platform

import click
from click.shell_completion import get_completion_class

from warren import __version__
from warren.cli.output import Output
from warren.cli.parameters import with_output


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: eval "$(warren completion bash)"     in ~/.bashrc
    zsh:  eval "$(warren completion zsh)"      in ~/.zshrc
    fish: warren completion fish | source      in ~/.config/fish/config.fish
    """  # noqa: D301 - \b is click's mark for lines to keep as they are
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "warren", "_WARREN_COMPLETE").source())


@click.command()
@with_output
def version(out: Output) -> None:
    """Print the versions of Warren and Python."""
    found = {"warren": __version__, "python": platform.python_version()}
    out.pairs(found, list(found.items()))
