"""A JSON reader that refuses what Python's own lets through.

Python's reader takes NaN, Infinity, 1e999, duplicate keys, UTF-16 and lone surrogates, and fails with `RecursionError`
on deep nesting. Each of them means something else to another program on the job's way, so none gets in. The costly
limits are checked on the bytes, by replacing and counting, before anything is built.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, Final, NoReturn

from warren_server.api.problems import Refusal

MAX_DEPTH: Final = 32
MAX_ITEMS: Final = 50_000
"""Commas outside strings: bounds the work of reading, whatever the size."""

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_INT64: Final = range(-(2**63), 2**63)


def load_object(raw: bytes, *, max_items: int = MAX_ITEMS) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        raw: The body as it came.
        max_items: Most members and elements, all levels together.

    Raises:
        Refusal: `bad-json`, naming the rule that was broken.
    """
    text = _text(raw)
    _check_shape(raw, max_items)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _refuse("a \\u escape is half of a surrogate pair: it is no character") from None
    except RecursionError:
        raise _refuse(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise _refuse(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _refuse(f"must be an object, is {_kind(value)}")
    return value


def _text(raw: bytes) -> str:
    if not raw.strip():
        raise _refuse("the body is empty")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refuse(f"not UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise _refuse("begins with a byte order mark; RFC 8259 forbids one")
    return text


def _check_shape(raw: bytes, max_items: int) -> None:
    """Check size and depth without building anything; each round of replacing takes one level away."""
    bare = _STRING.sub(b"", raw)
    if bare.count(b",") >= max_items:
        raise _refuse(f"more than {max_items} members and elements")
    brackets = bare.translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise _refuse(f"brackets do not match, or are nested deeper than {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = counted.most_common(1)[0][0]
        raise _refuse(f"key {twice!r:.100} appears twice in one object")
    return made


def _no_constant(name: str) -> NoReturn:
    raise _refuse(f"{name} is not JSON")


def _integer(text: str) -> int:
    if len(text) > 20 or (value := int(text)) not in _INT64:
        raise _refuse(f"integer {text:.25} does not fit 64 bits; send it as text")
    return value


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _refuse(f"number {text:.25} is too large for a double")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "a number"


def _refuse(why: str) -> Refusal:
    return Refusal("bad-json", f"the body is refused: {why}")
