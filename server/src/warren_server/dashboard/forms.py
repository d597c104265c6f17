"""What people type into forms, as the documents that the API's own rules are for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from warren.errors import Problem
from warren_server.api.problems import Refusal

_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?([eE][+-]?\d{1,3})?", re.ASCII)


def given(form: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """Return those of the named fields that are filled in; spaces around a value mean nothing."""
    return {name: value for name in names if (value := form.get(name, "").strip())}


def numbers(document: Mapping[str, Any], whole: Iterable[str] = (), decimal: Iterable[str] = ()) -> dict[str, Any]:
    """Return a document with some of its texts read as numbers.

    Raises:
        Refusal: One is none.
    """
    read = dict(document)
    for name in whole:
        if name in read:
            read[name] = integer(name, read[name])
    for name in decimal:
        if name in read:
            read[name] = number(name, read[name])
    return read


def integer(name: str, text: str) -> int:
    """Read a whole number.

    Raises:
        Refusal: It is none.
    """
    if not _INTEGER.fullmatch(text):
        raise wrong(name, "int_parsing", "must be a whole number")
    return int(text)


def number(name: str, text: str) -> float:
    """Read a number.

    Raises:
        Refusal: It is none.
    """
    if not _DECIMAL.fullmatch(text):
        raise wrong(name, "float_parsing", "must be a number, such as 2.5")
    return float(text)


def wrong(field: str, rule: str, message: str) -> Refusal:
    """Return what is wrong with a field."""
    problem = Problem(field=field, rule=rule, message=message)
    return Refusal("invalid-request", f"{field}: {message}", problems=[problem])
