"""Exit codes: what the shell learns of a failure."""

from __future__ import annotations

from typing import Final

import click

from warren.cli.output import clean
from warren.errors import (
    InvalidArguments,
    RequestFailed,
    SettingsError,
    TransportError,
    UnknownTask,
    WarrenError,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
NOT_FOUND: Final = 4
REFUSED: Final = 5

EPILOG: Final = """\b
Exit codes:
  0  it worked; with --wait and watch: the job succeeded
  1  the job or the operation failed, or doctor found something broken
  2  wrong usage, or a setting that breaks its rule
  3  no server or broker answers
  4  there is no such job, task, queue or token
  5  the server refused
"""


class Failure(click.ClickException):
    """A failure told in one line on standard error."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(clean(" ".join(message.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance just as well


def failure(error: WarrenError) -> Failure:
    """Say an error as the shell hears it: one line and an exit code."""
    return Failure(_told(error), exit_code(error))


def exit_code(error: WarrenError) -> int:
    """Return the exit code for an error."""
    match error:
        case RequestFailed(kind="wait-timeout"):
            return FAILED
        case RequestFailed(status=0) | TransportError():
            return UNREACHABLE
        case RequestFailed(status=404) | UnknownTask():
            return NOT_FOUND
        case RequestFailed() | InvalidArguments():
            return REFUSED
        case SettingsError():
            return USAGE
        case _:
            return FAILED


def _told(error: WarrenError) -> str:
    if isinstance(error, RequestFailed) and error.problems:
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in error.problems)
        return f"{error} ({listed})"
    return str(error)
