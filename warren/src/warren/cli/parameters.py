"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import click

from warren.cli.output import Output

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A number of seconds, or of minutes, hours or days with a letter: 90, 1.5h, 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", str(value), re.ASCII)
        if found is None:
            self.fail(
                f"{value!r} is no duration: give seconds, or a number with s, m, h or d, such as 1.5h", param, ctx
            )
        return float(found[1]) * _UNITS[found[2]]


class Moment(click.ParamType[datetime]):
    """A time in RFC 3339; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: give RFC 3339, such as 2030-01-31T09:30:00Z", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


DURATION: Final = Duration()
MOMENT: Final = Moment()


def pairs(words: Iterable[str]) -> dict[str, Any]:
    """Read arguments as people type them: `key=text` or `key:=json`.

    Raises:
        click.BadParameter: A word is neither, or a key comes twice.
    """
    arguments: dict[str, Any] = {}
    for word in words:
        found = re.fullmatch(r"([^=:]+)(:?=)(.*)", word, re.DOTALL)
        if found is None:
            raise click.BadParameter(f"{word!r} is neither key=text nor key:=json")
        key, kind, text = found.groups()
        if key in arguments:
            raise click.BadParameter(f"{key!r} is given twice")
        arguments[key] = text if kind == "=" else _json(key, text)
    return arguments


def confirm(question: str, *, yes: bool) -> None:
    """Ask on standard error whether to go on, unless that was said already; end the command if not."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def with_output(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option `--json`, and as its first argument an `Output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, to standard output.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> None:
        command(Output(as_json=as_json), *args, **kwargs)

    return wrapped


def with_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--url` and `--json`, and as its first arguments a client and an `Output`."""

    @click.option("--url", metavar="URL", help="Server; WARREN_URL unless given. The token comes from WARREN_TOKEN.")
    @with_output
    @functools.wraps(command)
    def wrapped(out: Output, *args: Any, url: str | None, **kwargs: Any) -> None:
        from warren.client import Client

        # Tests hand a transport to the root command instead of a network.
        with Client(url, transport=click.get_current_context().obj) as client:
            command(client, out, *args, **kwargs)

    return wrapped


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{key}:= is not JSON: {error}; for text write {key}=...") from error
