"""How values are written on pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup

NOTHING: Final = "–"
_CUT: Final = 20_000
_BYTES: Final = 1024


def moment(text: str | None) -> Markup | str:
    """Write a time, given by RFC 3339, to the second."""
    if text is None:
        return NOTHING
    return Markup('<time datetime="{}">{} {}</time>').format(text, text[:10], text[11:19])


def seconds(value: float | None) -> str:
    """Write a span of time."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2])


def number(value: float | None) -> str:
    """Write a count, or a rate to three digits."""
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def cut(text: str, most: int = _CUT) -> str:
    """Write a long text's end, where tracebacks say what happened."""
    if len(text) <= most:
        return text
    return f"… {len(text) - most:,} characters before this are left out …\n{text[-most:]}"


def short(text: str | None, most: int = 120) -> str:
    """Write a text's first line, in short."""
    if text is None:
        return NOTHING
    first = text.strip().split("\n", 1)[0]
    return first if len(first) <= most else f"{first[: most - 1]}…"


def document(value: Any) -> str:
    """Write a JSON value for people."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= _CUT else f"{text[:_CUT]}\n… {len(text) - _CUT:,} characters more …"


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "moment": moment,
    "seconds": seconds,
    "number": number,
    "cut": cut,
    "short": short,
    "document": document,
}
