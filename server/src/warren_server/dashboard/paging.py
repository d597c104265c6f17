"""Pages of lists that are held in memory: of however many names, a page shows some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A page of a list.

    Attributes:
        items: What is on it.
        number: Its number, from 1.
        last: The number of the last page.
        total: How long the list is.
    """

    items: Sequence[T]
    number: int
    last: int
    total: int


def page(items: Sequence[T], asked: str | None) -> Page[T]:
    """Return a page of a list; a number that makes no sense is that of the nearest page."""
    last = max(-(-len(items) // PAGE), 1)
    wanted = int(asked) if asked is not None and asked.isascii() and asked.isdigit() and len(asked) < 10 else 1
    number = min(max(wanted, 1), last)
    return Page(items=items[(number - 1) * PAGE : number * PAGE], number=number, last=last, total=len(items))
