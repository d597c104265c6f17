"""What commands print: tables for people, or with `--json` JSON and nothing else."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH: Final = 240
"""Columns of a table that goes into a pipe, where nothing is cut to a terminal's width."""


class Output:
    """Prints results to standard output.

    Args:
        as_json: JSON instead of text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: Any) -> None:
        """Print a value as one JSON document."""
        click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))

    def line(self, value: Any) -> None:
        """Print a value as one line of JSON."""
        click.echo(json.dumps(plain(value), ensure_ascii=False))

    def text(self, text: str) -> None:
        """Print a line of text."""
        click.echo(clean(text))

    def pairs(self, value: Any, rows: Sequence[tuple[str, object]]) -> None:
        """Print one thing: its document, or name and value a line, without what it does not have."""
        if self.as_json:
            self.document(value)
            return
        known = [(name, shown(content)) for name, content in rows if content is not None and content != ""]
        width = max(len(name) for name, _ in known)
        for name, content in known:
            click.echo(f"{name:<{width}}  {content}")

    def table(self, values: Iterable[Any], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print several things: their documents in one list, or a table."""
        if self.as_json:
            self.document(list(values))
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, no_wrap=column == "id", overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        console().print(table)


def console() -> Console:
    """Return a console on standard output that shows text as it is: no markup, no guessed colours."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)


def note(text: str) -> None:
    """Print a remark to standard error, where it does not disturb what is piped."""
    click.echo(clean(text), err=True)


def plain(value: Any) -> Any:
    """Turn views into what JSON can write; times become RFC 3339 in UTC, bytes base64."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def shown(value: object) -> str:
    """Write a value for people."""
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case str():
            return clean(value)
        case bytes():
            return clean(value.decode(errors="backslashreplace"))
        case _:
            return clean(json.dumps(plain(value), ensure_ascii=False))


def clean(text: str) -> str:
    """Show control characters instead of sending them: results and errors may hold escape sequences of a stranger."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else f"\\x{ord(letter):02x}" for letter in text)
