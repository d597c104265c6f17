"""Reading from a store that may be away: a page then shows what the broker says, and tells why there is no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import g

from warren_server.errors import StoreDown

T = TypeVar("T")


def if_there(read: Callable[[], T]) -> T | None:
    """Read from the store; None when it is away. A store that was away for this request is not asked again."""
    if g.get("store_down") is not None:
        return None
    try:
        return read()
    except StoreDown as error:
        g.store_down = str(error)
        return None
