"""Options that say which dead letters are meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from warren.cli.parameters import MOMENT
from warren.client import DeadLetterFilter

_OPTIONS: Final = (
    click.option("--queue", help="Only those of this queue."),
    click.option("--task", help="Only those of this task."),
    click.option("--error", metavar="CLASS", help="Only those whose error is of this class, such as ValueError."),
    click.option("--outcome", metavar="WORD", help="Only those whose last attempt ended so: failed, timeout, lost."),
    click.option("--reason", metavar="TEXT", help="Only those whose reason contains this."),
    click.option("--worker", help="Only those that this worker gave up."),
    click.option("--since", type=MOMENT, help="Only those that died then or later, RFC 3339."),
    click.option("--until", type=MOMENT, help="Only those that died before, RFC 3339."),
    click.option("--job", help="Only the one of this job."),
)
_NAMES: Final = tuple(DeadLetterFilter.__annotations__)


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose dead letters, and what they say as its argument `wanted`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        told = {name: kwargs.pop(name) for name in _NAMES}
        command(*args, wanted={name: value for name, value in told.items() if value is not None}, **kwargs)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
