"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout_seconds: float = 10.0, interval_seconds: float = 0.02) -> T:
    """Return the condition's first true value; fail with what it was last when the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still {value!r} after {timeout_seconds} s")
        time.sleep(interval_seconds)
